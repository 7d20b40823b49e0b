"""Changed files of torch.save before the real reader process: tensors come, or words.

Whatever is in a file: nothing is written, no process is left, and the reader gives up where it
would need more memory than it is given before it opens the file.
"""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from archive.checkpoint import open_checkpoint
from archive.errors import CheckpointError
from tests.archive.test_checkpoint_layouts import put_tokenizer
from tests.archive.test_mutations import assert_whole, changed
from tests.archive.tiny import full, tensors, tiny_weights
from tests.patience import wait_until

NAME = "pytorch_model.bin"
Change = Callable[[bytes], bytes]
CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"
EOCD = b"PK\x05\x06"


def at_every(mark: bytes, offset: int, form: str, value: int) -> Change:
    """A number of each entry of the zip, as another one."""

    def change(data: bytes) -> bytes:
        parts = bytearray(data)
        place = parts.find(mark)
        while place >= 0:
            struct.pack_into(form, parts, place + offset, value)
            place = parts.find(mark, place + 4)
        return bytes(parts)

    return change


def entries(change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Change:
    """The zip with its entries changed, whole again as a zip."""

    def rewrite(data: bytes) -> bytes:
        path = Path("entries.zip")
        path.write_bytes(data)
        with zipfile.ZipFile(path) as whole:
            found = [(info.filename, whole.read(info)) for info in whole.infolist()]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as again:
            for name, content in found:
                for new_name, new_content in change(name, content):
                    again.writestr(new_name, new_content)
        rewritten = path.read_bytes()
        path.unlink()
        return rewritten

    return rewrite


def storages(change: Callable[[bytes], list[bytes]]) -> Change:
    return entries(
        lambda name, content: (
            [(name, each) for each in change(content)] if "/data/" in name else [(name, content)]
        )
    )


def in_pickle(old: bytes, new: bytes) -> Change:
    return entries(
        lambda name, content: [
            (name, content.replace(old, new) if name.endswith("data.pkl") else content)
        ]
    )


def some_bytes(seed: int) -> Change:
    return lambda data: changed(data, random.Random(seed))


# A storage's key and size, as the pickle of the tiny model has them.
WORDS = struct.pack("<i", 7552 * 48)
CHANGES: dict[str, Change] = {
    **{f"some bytes, {seed}": some_bytes(seed) for seed in range(6)},
    "sizes in the directory that lie": at_every(CENTRAL, 24, "<I", 0x7FFFFFFF),
    "entries that lie beyond the end": at_every(CENTRAL, 42, "<I", 0x7FFFFFFF),
    "entries that say that they are compressed": at_every(LOCAL, 8, "<H", 8),
    "a directory of 65,535 entries": at_every(EOCD, 10, "<H", 0xFFFF),
    "storages cut in half": storages(lambda content: [content[: len(content) // 2]]),
    "storages that are empty": storages(lambda content: [b""]),
    "storages that are missing": storages(lambda content: []),
    "a storage of two billion numbers": in_pickle(WORDS, struct.pack("<i", 2**31 - 1)),
    "a negative size": in_pickle(WORDS, struct.pack("<i", -1)),
    "a pickle cut short": entries(
        lambda name, content: [(name, content[:900] if name.endswith("data.pkl") else content)]
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_zip_gives_right_shapes_or_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    compare(tmp_path, monkeypatch, change, zipped=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_changed_file_of_before_2020_gives_right_shapes_or_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    compare(tmp_path, monkeypatch, some_bytes(seed), zipped=False)


def compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, *, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "model"
    directory.mkdir()
    put_tokenizer(directory)
    weights = tensors(full(tiny_weights(directory)))
    torch.save(weights, directory / NAME, _use_new_zipfile_serialization=zipped)
    spoilt = change((directory / NAME).read_bytes())
    (directory / NAME).write_bytes(spoilt)
    before = sorted(tmp_path.rglob("*"))
    others = set(psutil.Process().children())
    try:
        checkpoint = open_checkpoint(directory, "tales")
        assert_whole(checkpoint)
        del checkpoint
    except CheckpointError as told:
        assert "\n" not in str(told) and str(tmp_path) not in str(told)
    assert sorted(tmp_path.rglob("*")) == before
    wait_until(lambda: set(psutil.Process().children()) <= others)

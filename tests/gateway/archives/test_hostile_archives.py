"""An archive that would write elsewhere, grow without bound or lies is refused before unpacking."""

from __future__ import annotations

import json
import os
import runpy
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from gateway.archives.archive_file import BadArchive, Bounds, check, read_member
from gateway.archives.manifest import MANIFEST, read_manifest
from gateway.errors import BadRequest
from tests.conftest import ROOT
from tests.gateway.conftest import Service, StartService, environment_for_tests
from tests.patience import PATIENCE

CONTENT = b"some text that packs well " * 40
BOUNDS = Bounds(files=200)


def archive(*files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A sound archive with some files more."""
    made = BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", method) as packed:
        warnings.simplefilter("ignore")  # of names that come twice
        manifest = {"model": {"modelName": "hostile", "modelVersion": "1.0", "handler": "h.py"}}
        packed.writestr(MANIFEST, json.dumps(manifest))
        packed.writestr("h.py", "raise SystemExit")
        for name, content in files:
            packed.writestr(name, content, None if isinstance(name, zipfile.ZipInfo) else method)
    return made.getvalue()


def named(name: str) -> bytes:
    """With a file of a name, whatever the library thinks of it."""
    whole = archive(("x" * len(name.encode()), CONTENT))
    return (
        whole.replace(b"x" * len(name.encode()), name.encode())
        .replace(
            # names are said to be UTF-8
            b"PK\x03\x04\x14\0\0\0",
            b"PK\x03\x04\x14\0\0\x08",
        )
        .replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\x08")
    )


def of_kind(kind: int) -> bytes:
    info = zipfile.ZipInfo("model/link")
    info.external_attr = (kind | 0o777) << 16
    return archive((info, b"/etc/passwd"))


def patched(offset: int, in_directory: int, value: bytes, *, both: bool = True) -> bytes:
    """A packed file whose header (and line of the directory) says something else."""
    whole = bytearray(archive(("model/x", CONTENT), method=zipfile.ZIP_DEFLATED))
    local, line = whole.rindex(b"PK\x03\x04"), whole.rindex(b"PK\x01\x02")
    if both:
        whole[local + offset : local + offset + len(value)] = value
    whole[line + in_directory : line + in_directory + len(value)] = value
    return bytes(whole)


def hidden() -> bytes:
    """Entries that only who reads from the start finds, before those that all find."""
    stranger = BytesIO()
    with zipfile.ZipFile(stranger, "w") as packed:
        packed.writestr("../../evil", CONTENT)
        length = packed.start_dir
    return stranger.getvalue()[:length] + archive()


def hidden_between() -> bytes:
    whole = BytesIO(archive(("model/a", CONTENT), ("../evil", CONTENT), ("model/b", CONTENT)))
    with zipfile.ZipFile(whole, "a") as packed:
        del packed.filelist[3]
        packed._didModify = True  # type: ignore[attr-defined]
    return whole.getvalue()


def bomb() -> bytes:
    info = zipfile.ZipInfo("model/zeros")
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive((info, bytes(200 << 20)))


def overlapping() -> bytes:
    """The same packed bytes under many names."""
    whole = BytesIO(archive(("model/0", CONTENT)))
    with zipfile.ZipFile(whole, "a") as packed:
        first = packed.getinfo("model/0")
        for number in range(1, 100):
            info = zipfile.ZipInfo(f"model/{number}")
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
            packed.filelist.append(info)
        packed._didModify = True  # type: ignore[attr-defined]
    return whole.getvalue()


def other_name() -> bytes:
    """A name in the header that is not the one of the directory."""
    whole = archive(("model/xxxx", CONTENT))
    return whole.replace(b"model/xxxx", b"../../evil", 1)


def duplicate(first: str, second: str) -> bytes:
    return archive((first, CONTENT), (second, CONTENT))


SIZE, PACKED_SIZE, FLAGS, METHOD = (22, 24), (18, 20), (6, 8), (8, 10)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "above": lambda: named("../evil"),
    "far above": lambda: named("model/../../../evil"),
    "absolute": lambda: named("/tmp/evil"),
    "windows": lambda: named("C:\\evil"),
    "windows above": lambda: named("model\\..\\..\\evil"),
    "drive": lambda: named("C:evil"),
    "here": lambda: named("model/./x"),
    "nothing": lambda: named("model//x"),
    "line break": lambda: named("model/x\nINFO all is well"),
    "return": lambda: named("model/x\ry"),
    "nul": lambda: named("model/x.py\0.txt"),
    "terminal": lambda: named("model/\x1b[2Jx"),
    "turned around": lambda: named("model/\u202etxt"),
    "long part": lambda: named("m/" + "y" * 300),
    "long path": lambda: named("m/" + "yy/" * 600 + "z"),
    "link": lambda: of_kind(stat.S_IFLNK),
    "pipe": lambda: of_kind(stat.S_IFIFO),
    "device": lambda: of_kind(stat.S_IFBLK),
    "directory that is a file": lambda: of_kind(stat.S_IFDIR),
    "twice": lambda: duplicate("model/x", "model/x"),
    "twice in cases": lambda: duplicate("model/X", "model/x"),
    "twice in spellings": lambda: duplicate("model/\u00e9", "model/e\u0301"),
    "file and directory": lambda: duplicate("model/x", "model/x/y"),
    "manifest twice": lambda: archive((MANIFEST, b"{}")),
    "encrypted": lambda: patched(*FLAGS, b"\x01\0"),
    "encrypted strongly": lambda: patched(*FLAGS, b"\x41\0"),
    "unknown method": lambda: patched(*METHOD, b"\x63\0"),
    "bzip2": lambda: archive(("model/x", CONTENT), method=zipfile.ZIP_BZIP2),
    "sizes follow": lambda: patched(*FLAGS, b"\x08\0"),
    "shorter than said": lambda: patched(*SIZE, struct.pack("<I", 99999)),
    "longer than said": lambda: patched(*SIZE, struct.pack("<I", 9)),
    "longer than said in one place": lambda: patched(*SIZE, struct.pack("<I", 9), both=False),
    "packed longer": lambda: patched(*PACKED_SIZE, struct.pack("<I", 9999)),
    "packed shorter": lambda: patched(*PACKED_SIZE, struct.pack("<I", 5)),
    "another sum": lambda: patched(14, 16, b"\0\0\0\0"),
    "bomb": bomb,
    "overlapping": overlapping,
    "many files": lambda: archive(*((f"model/{n}", b"") for n in range(300))),
    "hidden at the start": hidden,
    "hidden between": hidden_between,
    "another name": other_name,
    "after another file": lambda: b"#!/bin/sh\n" + archive(),
    "cut": lambda: archive(("model/x", CONTENT))[:-30],
    "half": lambda: archive(("model/x", CONTENT))[:400],
    "empty": lambda: b"",
    "no zip": lambda: b"GIF89a" * 100,
    "no manifest": lambda: archive().replace(b"MANIFEST.json", b"MANIFEST.yaml"),
}


@pytest.fixture(scope="module")
def store(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with the embedded model and every hostile archive."""
    made = tmp_path_factory.mktemp("store")
    (made / "gpt2.mar").symlink_to(model_store / "gpt2.mar")
    for name, build in HOSTILE.items():
        (made / f"{name.replace(' ', '-')}.mar").write_bytes(build())
    os.mkfifo(made / "pipe-itself.mar")
    return made


def archives(store: Path) -> Iterator[Path]:
    for path in sorted(store.glob("*.mar")):
        if path.name != "gpt2.mar":
            yield path


def test_each_is_refused_by_name_in_one_line(store: Path) -> None:
    seen = []
    for path in archives(store):
        with pytest.raises(BadRequest) as fault:
            read_manifest(path, BOUNDS)
        seen.append(fault.value.message)
        assert path.name in fault.value.message
        assert fault.value.message.isprintable() and len(fault.value.message) < 250
        assert str(store) not in fault.value.message
    assert len(seen) == len(HOSTILE) + 1


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_sound_one_is_taken(model_store: Path, tmp_path: Path, method: int) -> None:
    check(model_store / "gpt2.mar", BOUNDS)
    path = tmp_path / "sound.mar"
    files = [("model/", b""), ("model/empty", b""), ("model/big", os.urandom(3 << 20))]
    path.write_bytes(archive(*files, ("model/é-鍵.txt", CONTENT), method=method))
    found = read_manifest(path, BOUNDS)
    assert (found.model, found.version) == ("hostile", "1.0")
    with (
        zipfile.ZipFile(path, "a", method) as packed,
        packed.open("wide", "w", force_zip64=True) as f,
    ):
        f.write(CONTENT)
    check(path, BOUNDS)
    with zipfile.ZipFile(path, "a", method) as packed:
        packed.comment = b"made by hand"
    check(path, BOUNDS)
    with pytest.raises(BadArchive, match="longer than 10 bytes"):
        read_member(path, "h.py", 10)


@pytest.mark.parametrize(
    ("bounds", "setting"),
    [
        (Bounds(files=2), "MAX_ARCHIVE_FILES"),
        (Bounds(unpacked_bytes=1 << 20), "MAX_ARCHIVE_BYTES"),
        (Bounds(ratio=1), "MAX_ARCHIVE_RATIO"),
    ],
)
def test_what_is_too_much_names_the_setting(tmp_path: Path, bounds: Bounds, setting: str) -> None:
    path = tmp_path / "large.mar"
    path.write_bytes(archive(("model/x", bytes(70 << 20)), method=zipfile.ZIP_DEFLATED))
    check(path, Bounds(ratio=2000))
    with pytest.raises(BadArchive, match=setting):
        check(path, bounds)


def test_none_is_unpacked_for_an_image(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack = runpy.run_path(str(ROOT / "deploy" / "image" / "unpack.py"))
    for path in archives(store):
        if path.stem in ("no-manifest", "many-files"):  # the one has no bound of ours there
            continue
        monkeypatch.setattr(sys, "argv", ["unpack.py", str(path), str(tmp_path / "in" / "it")])
        assert unpack["main"]() == 1, path
        assert path.name in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_none_is_registered_nor_unpacked(store: Path, start_service: StartService) -> None:
    temporary = store / "tmp"
    temporary.mkdir()
    service: Service = start_service(store=store, TMPDIR=str(temporary), MAX_ARCHIVE_FILES="200")
    before = sorted(path for path in temporary.rglob("*"))
    for path in archives(store):
        reply = service.manage("POST", f"/models?url={path.name}&model_name=hostile")
        assert reply.status_code == 400, path
        assert reply.json()["error"]["code"] == "bad_archive"
        assert path.name in reply.json()["error"]["message"]
    assert sorted(path for path in temporary.rglob("*")) == before
    assert not list(store.parent.rglob("evil"))
    assert service.complete(max_tokens=1).status_code == 200


@pytest.mark.parametrize("name", ["far-above", "hidden-at-the-start", "bomb", "longer-than-said"])
def test_none_is_served(store: Path, tmp_path: Path, name: str) -> None:
    settings = {"MODEL_STORE": str(store), "MODEL_ARCHIVE": f"{name}.mar", "PORT": "0"}
    command = [sys.executable, "-m", "gateway"]
    environment = environment_for_tests() | settings | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{name}.mar" in line
    assert not list(tmp_path.iterdir())

"""Files of every format with bytes changed, cut out or put in: right shapes come, or words.

Whatever is in a file: no other exception than CheckpointError, nothing larger than the file
explains, and no code of it is run.
"""

from __future__ import annotations

import json
import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from archive.checkpoint import Checkpoint, open_checkpoint, weight_shapes
from archive.errors import CheckpointError
from tests.archive.programs import gguf_file
from tests.archive.test_checkpoint_layouts import put_tokenizer
from tests.archive.tiny import Arrays, full, tiny_weights

MADE = Path(__file__).parent / "made"
# Of what Python allocates itself; the largest of these files has 2 MB.
MEMORY = 64_000_000
CASES = 25


def made(name: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        shutil.copytree(MADE / name, directory, dirs_exist_ok=True)
        words = {letter: place for place, letter in enumerate(map(chr, range(32, 127)))}
        model = {"type": "WordLevel", "vocab": words | {"<unk>": 95}, "unk_token": "<unk>"}
        (directory / "tokenizer.json").write_text(
            json.dumps({"version": "1.0", "added_tokens": [], "model": model})
        )
        kind = {"tokenizer_class": "PreTrainedTokenizerFast"}
        (directory / "tokenizer_config.json").write_text(json.dumps(kind))

    return write


def of_tiny(write: Callable[[Path, Arrays], None]) -> Callable[[Path], None]:
    def put(directory: Path) -> None:
        put_tokenizer(directory)
        write(directory, tiny_weights(directory, n_embd=32))

    return put


def safetensors(directory: Path, weights: Arrays) -> None:
    save_file(full(weights), directory / "model.safetensors")


# The file that is changed, and what writes it; headers are where a change tells most.
LAYOUTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "safetensors": ("model.safetensors", of_tiny(safetensors)),
    "GGUF": ("model.gguf", of_tiny(gguf_file("F32", 32))),
    "Flax": ("flax_model.msgpack", made("flax")),
    "Keras": ("tf_model.h5", made("keras")),
    "TensorFlow": ("model-1000.index", made("tensorflow")),
    "bitsandbytes, 8 bits": ("model.safetensors", made("bitsandbytes_int8")),
    "bitsandbytes, 4 bits": ("model.safetensors", made("bitsandbytes_nf4")),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_changed_file_gives_whole_weights_or_words(
    tmp_path: Path, layout: tuple[str, Callable[[Path], None]]
) -> None:
    name, write = layout
    write(tmp_path)
    whole = (tmp_path / name).read_bytes()
    assert_whole(read(tmp_path))
    generator = random.Random(0)
    for _ in range(CASES):
        (tmp_path / name).write_bytes(changed(whole, generator))
        tracemalloc.start()
        try:
            assert_whole(read(tmp_path))
        except CheckpointError as told:
            assert "\n" not in str(told) and str(tmp_path) not in str(told)
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < MEMORY


def changed(whole: bytes, generator: random.Random) -> bytes:
    """The file with a few changes, most of them where its header is."""
    data = bytearray(whole)
    for _ in range(generator.randrange(1, 5)):
        end = len(data) if generator.random() < 0.2 else min(len(data), 4000)
        at = generator.randrange(end)
        extreme = generator.choice((b"\xff" * 8, b"\0" * 8, b"\xff" * 3 + b"\x7f", b"\x80"))
        some = generator.randbytes(generator.choice((1, 1, 2, 8)))
        match generator.randrange(4):
            case 0:
                data[at : at + len(some)] = some
            case 1:
                data[at : at + len(extreme)] = extreme
            case 2:
                del data[at : at + generator.randrange(1, 40)]
            case _:
                data[at:at] = some
    return bytes(data[: generator.randrange(len(data))] if generator.random() < 0.1 else data)


def read(directory: Path) -> Checkpoint:
    return open_checkpoint(directory, "tales")


def assert_whole(checkpoint: Checkpoint) -> None:
    for name, shape in weight_shapes(checkpoint.shape).items():
        assert checkpoint.weights[name].shape == shape, name

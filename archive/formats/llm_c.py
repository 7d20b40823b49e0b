"""llm.c's gpt2_*.bin: 256 numbers, then the tensors one behind the other, all layers in one each.

https://github.com/karpathy/llm.c (train_gpt2.py writes it); matrices are [out, in] as nn.Linear's.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

from archive.errors import CheckpointError
from archive.formats.nanogpt import gpt2_config, usual_tokenizer
from archive.formats.tensors import StoredModel, StoredTensor, tensor_in_file

MAGIC = 20240326
HEADER_NUMBERS = 256
# By version: how numbers are kept, and whether the vocabulary is padded.
VERSIONS = {1: ("F32", False), 3: ("F32", True), 5: ("BF16", True)}
ITEM_BYTES = {"F32": 4, "BF16": 2}


def is_llm_c(path: Path) -> bool:
    """Whether a file begins as llm.c's do; PyTorch's have the same ending."""
    with path.open("rb") as file:
        return file.read(4) == struct.pack("<i", MAGIC)


def read_llm_c(path: Path) -> StoredModel:
    """Return the model in a file of llm.c.

    Raises CheckpointError if it is of another version, or has not the size that its header says.
    """
    with path.open("rb") as file:
        head = file.read(4 * HEADER_NUMBERS)
    if len(head) < 4 * HEADER_NUMBERS:
        raise CheckpointError(f"{path.name} is cut short")
    _, version, positions, vocabulary, layers, heads, width, padded, *_ = struct.unpack(
        f"<{HEADER_NUMBERS}i", head
    )
    if version not in VERSIONS:
        raise CheckpointError(
            f"{path.name} is version {version} of llm.c's format; {_known()} are read"
        )
    kind, is_padded = VERSIONS[version]
    rows = padded if is_padded else vocabulary
    if min(positions, vocabulary, layers, heads, width) < 1 or rows < vocabulary:
        raise CheckpointError(f"{path.name} is broken: its header has invalid sizes")
    tensors: dict[str, StoredTensor] = {}
    offset = 4 * HEADER_NUMBERS
    for name, shape, is_layered in _order(rows, positions, width):
        for layer in range(layers if is_layered else 1):
            full = f"h.{layer}.{name}" if is_layered else name
            tensors[full] = tensor_in_file(path, offset, shape, kind)
            offset += prod(shape) * ITEM_BYTES[kind]
    size = path.stat().st_size
    if offset != size:
        raise CheckpointError(
            f"{path.name} is broken or cut short: it has {size:,} bytes, its header asks for "
            f"{offset:,}"
        )
    tensors["wte.weight"] = tensors["wte.weight"].mapped(
        lambda values: values[:vocabulary], (vocabulary, width)
    )
    config = gpt2_config(
        {
            "n_layer": layers,
            "n_head": heads,
            "n_embd": width,
            "n_positions": positions,
            "vocab_size": vocabulary,
        },
        "gelu_new",
    )
    return StoredModel(
        f"{path.name} of llm.c", config, tensors, path.parent, tokenizer=usual_tokenizer(config)
    )


def _order(rows: int, positions: int, width: int) -> list[tuple[str, tuple[int, ...], bool]]:
    """Names, shapes and whether each layer has one, as they follow each other."""
    return [
        ("wte.weight", (rows, width), False),
        ("wpe.weight", (positions, width), False),
        ("ln_1.weight", (width,), True),
        ("ln_1.bias", (width,), True),
        ("attn.c_attn.weight", (3 * width, width), True),
        ("attn.c_attn.bias", (3 * width,), True),
        ("attn.c_proj.weight", (width, width), True),
        ("attn.c_proj.bias", (width,), True),
        ("ln_2.weight", (width,), True),
        ("ln_2.bias", (width,), True),
        ("mlp.c_fc.weight", (4 * width, width), True),
        ("mlp.c_fc.bias", (4 * width,), True),
        ("mlp.c_proj.weight", (width, 4 * width), True),
        ("mlp.c_proj.bias", (width,), True),
        ("ln_f.weight", (width,), False),
        ("ln_f.bias", (width,), False),
    ]


def _known() -> str:
    return ", ".join(map(str, VERSIONS))

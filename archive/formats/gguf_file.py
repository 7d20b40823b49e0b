"""GGUF of GPT-2, as llama.cpp's converter writes it: F32, F16, BF16 and Q8_0, tokenizer in it.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Nothing that the header says is believed
before it is held against the file's size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tokenizers import AddedToken, Tokenizer, processors

from archive.errors import CheckpointError
from archive.formats.tensors import Floats, StoredModel, StoredTensor, tensor_in_file
from archive.gpt2_own import byte_level_bpe
from archive.reading import refuse_pointer

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
# Of tokens, merges and bytes of a text: no GPT-2 has more.
LARGEST_COUNT = 10_000_000
# Numbers of one kind in the header, by their type there.
NUMBERS = {
    **{0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"},
    **{10: "<Q", 11: "<q", 12: "<d"},
}
TEXT, LIST = 8, 9
FLOATS = {0: ("F32", 4), 1: ("F16", 2), 30: ("BF16", 2)}
Q8_0 = 8
BLOCK = 32  # numbers of Q8_0 that share a scale
NAMES = {
    "token_embd.weight": "wte.weight",
    "position_embd.weight": "wpe.weight",
    "output_norm.weight": "ln_f.weight",
    "output_norm.bias": "ln_f.bias",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
CONFIG = {
    "n_layer": "gpt2.block_count",
    "n_head": "gpt2.attention.head_count",
    "n_embd": "gpt2.embedding_length",
    "n_positions": "gpt2.context_length",
    "n_inner": "gpt2.feed_forward_length",
    "layer_norm_epsilon": "gpt2.attention.layer_norm_epsilon",
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
}
# Kinds of tokens: what a text may name as a whole.
CONTROL, USER_DEFINED = 3, 4
# How llama.cpp calls GPT-2's way to cut a text before its merges; other ways give other ids.
GPT2_CUTS = (None, "gpt-2", "gpt2", "default")


def read_gguf(path: Path) -> StoredModel:
    """Return the GPT-2 in a GGUF file.

    Raises CheckpointError if it is broken, no GPT-2, or quantised otherwise than as Q8_0.
    """
    refuse_pointer(path)
    with path.open("rb") as file:
        header = _Header(file, path)
        metadata, entries = header.read()
        start = -(-file.tell() // header.alignment) * header.alignment
    kind = metadata.get("general.architecture")
    if kind != "gpt2":
        raise CheckpointError(f"{path.name} is not GPT-2: its general.architecture is {kind!r}")
    tensors = {
        _name(name): _tensor(path, name, shape, number, start + offset)
        for name, shape, number, offset in entries
    }
    config = {name: metadata.get(key) for name, key in CONFIG.items()}
    config |= {"model_type": "gpt2", "activation_function": "gelu_new"}
    if "wte.weight" in tensors:
        config["vocab_size"] = tensors["wte.weight"].shape[0]
    return StoredModel(
        f"{path.name} of GGUF", config, tensors, path.parent, tokenizer=_tokenizer(path, metadata)
    )


class _Header:
    """Reads what stands before the tensors."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._size = path.stat().st_size
        self.alignment = ALIGNMENT

    def read(self) -> tuple[dict[str, Any], list[tuple[str, tuple[int, ...], int, int]]]:
        """Return the metadata, and name, shape, type and offset of each tensor."""
        if self._bytes(4) != MAGIC:
            raise self._broken("it does not start with the GGUF magic bytes")
        version = self._number("<I")
        if version not in VERSIONS:
            raise self._broken(f"its version is {version}; 2 and 3 are read")
        tensors, pairs = self._count(), self._count()
        metadata = {}
        for _ in range(pairs):
            key = self._text()
            metadata[key] = self._value(self._number("<I"))
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 16:
            raise self._broken("its general.alignment is not valid")
        self.alignment = alignment
        return metadata, [self._entry() for _ in range(tensors)]

    def _entry(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text()
        rank = self._number("<I")
        if rank > 4:
            raise self._broken(f"{name} has {rank} dimensions")
        shape = tuple(self._number("<Q") for _ in range(rank))[::-1]
        return name, shape, self._number("<I"), self._number("<Q")

    def _value(self, kind: int) -> Any:
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind == TEXT:
            return self._text()
        if kind != LIST:
            raise self._broken(f"its metadata has an unknown type, {kind}")
        kind, count = self._number("<I"), self._count()
        if kind == LIST:
            raise self._broken("its metadata has lists of lists")
        return [self._value(kind) for _ in range(count)]

    def _count(self) -> int:
        """A number of things, of which each takes a byte at least."""
        count: int = self._number("<Q")
        if count > min(LARGEST_COUNT, self._size - self._file.tell()):
            raise self._broken("it claims to hold more than its size allows")
        return count

    def _text(self) -> str:
        try:
            return self._bytes(self._count()).decode("utf-8")
        except UnicodeDecodeError:
            raise self._broken("a string in it is not UTF-8") from None

    def _number(self, layout: str) -> Any:
        (value,) = struct.unpack(layout, self._bytes(struct.calcsize(layout)))
        return value

    def _bytes(self, count: int) -> bytes:
        read = self._file.read(count)
        if len(read) != count:
            raise self._broken("it ends early")
        return read

    def _broken(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self._path.name} is broken or cut short ({reason})")


def _name(name: str) -> str:
    """GPT2LMHeadModel's name for llama.cpp's.

    >>> _name("blk.3.ffn_up.bias")
    'h.3.mlp.c_fc.bias'
    """
    parts = name.split(".")
    if parts[0] == "blk" and len(parts) == 4 and parts[2] in LAYER_NAMES:
        return f"h.{parts[1]}.{LAYER_NAMES[parts[2]]}.{parts[3]}"
    return NAMES.get(name, name)


def _tensor(
    path: Path, name: str, shape: tuple[int, ...], number: int, offset: int
) -> StoredTensor:
    count = prod(shape)
    if number == Q8_0:
        size = count // BLOCK * (BLOCK + 2)
        load: Callable[[], Floats] = lambda: _dequantised(path, offset, shape)  # noqa: E731
        tensor = StoredTensor(shape, "Q8_0", load)
        fits = bool(shape) and shape[-1] % BLOCK == 0
    elif number in FLOATS:
        kind, bytes_each = FLOATS[number]
        size, fits = count * bytes_each, True
        tensor = tensor_in_file(path, offset, shape, kind)
    else:
        raise CheckpointError(
            f"{path.name}: {name} is quantised as ggml's type {number}; F32, F16, BF16 and Q8_0 "
            "are read: take the file of one of those, or the model that it was made from"
        )
    if not fits or offset + size > path.stat().st_size:
        raise CheckpointError(f"{path.name} is broken or cut short ({name} lies beyond its end)")
    return tensor


def _dequantised(path: Path, offset: int, shape: tuple[int, ...]) -> Floats:
    """Numbers of Q8_0: blocks of a float16 scale and 32 signed bytes."""
    block = np.dtype([("scale", "<f2"), ("units", "i1", BLOCK)])
    blocks = np.fromfile(path, block, prod(shape) // BLOCK, offset=offset)
    if len(blocks) * BLOCK != prod(shape):
        raise CheckpointError(f"{path.name} is cut short")
    scale = blocks["scale"].astype(np.float32)
    return (blocks["units"].astype(np.float32) * scale[:, None]).reshape(shape)


def _tokenizer(path: Path, metadata: dict[str, Any]) -> Tokenizer | None:
    """The byte-level BPE in the file; None for another kind, which needs --tokenizer."""
    names = ("model", "tokens", "merges", "token_type", "pre")
    kind, tokens, merges, kinds, cuts = (metadata.get(f"tokenizer.ggml.{name}") for name in names)
    if kind != "gpt2" or cuts not in GPT2_CUTS:
        return None
    if not isinstance(tokens, list) or not isinstance(merges, list):
        return None
    pairs = [str(merge).partition(" ") for merge in merges]
    try:
        tokenizer = byte_level_bpe(
            {str(token): number for number, token in enumerate(tokens)},
            [(left, right) for left, _, right in pairs],
        )
        for token, of_kind in zip(tokens, kinds or [], strict=False):
            if of_kind in (CONTROL, USER_DEFINED):
                is_special = of_kind == CONTROL
                tokenizer.add_tokens([AddedToken(str(token), special=is_special, normalized=False)])
        _put_in_front(tokenizer, metadata)
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{path.name}: its tokenizer is broken ({error})") from None
    return tokenizer


def _put_in_front(tokenizer: Tokenizer, metadata: dict[str, Any]) -> None:
    """Have each text begin with a token, if the file says so."""
    bos = metadata.get(CONFIG["bos_token_id"])
    name = tokenizer.id_to_token(bos) if type(bos) is int else None
    if metadata.get("tokenizer.ggml.add_bos_token") is True and name is not None:
        template = processors.TemplateProcessing(
            single=[name, "$A"], pair=[name, "$A", "$B"], special_tokens=[(name, bos)]
        )
        tokenizer.post_processor = processors.Sequence([tokenizer.post_processor, template])

"""TensorFlow checkpoints as OpenAI's: model.ckpt.index, its data, hparams.json, encoder.json.

The index is a LevelDB table whose values are BundleEntryProto: of both, this reads as much as
TensorFlow's own saver writes. gpt-2-simple writes the same.
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from archive.errors import CheckpointError
from archive.formats.nanogpt import gpt2_config, usual_tokenizer
from archive.formats.tensors import StoredModel, StoredTensor, tensor_in_file
from archive.gpt2_own import END_OF_TEXT, byte_level_bpe
from archive.reading import read_json, refuse_pointer

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48
LARGEST_INDEX = 100_000_000
# TensorFlow's DataType.
KINDS = {1: ("F32", 4), 2: ("F64", 8), 14: ("BF16", 2), 19: ("F16", 2)}
HPARAMS = {"n_vocab": "vocab_size", "n_ctx": "n_positions"}
LEAVES = {"w": "weight", "b": "bias", "g": "weight"}
NAME = re.compile(r"model/(?:h(?P<layer>\d+)/)?(?P<module>[\w/]+)")

Message = dict[int, list[Any]]


def read_tensorflow(index: Path) -> StoredModel:
    """Return the model whose index is `index`.

    Raises CheckpointError if it is broken, or hparams.json does not lie beside it.
    """
    refuse_pointer(index)
    directory = index.parent
    if not (directory / "hparams.json").is_file():
        raise CheckpointError(
            f"no hparams.json beside {index.name}: copy it from the GPT-2 that it was trained from"
        )
    hparams = read_json(directory / "hparams.json")
    numbers = {}
    for name in ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer"):
        if type(hparams.get(name)) is not int:
            raise CheckpointError(
                f"hparams.json: {name} is {hparams.get(name)!r}; a number is needed"
            )
        numbers[HPARAMS.get(name, name)] = hparams[name]
    try:
        tensors = dict(_tensors(index))
    except (IndexError, struct.error, UnicodeDecodeError, ValueError, TypeError, KeyError):
        raise CheckpointError(f"{index.name} is broken or cut short") from None
    config = gpt2_config(numbers, "gelu_new")
    return StoredModel(
        f"{index.name} of TensorFlow",
        config,
        tensors,
        directory,
        tokenizer=_tokenizer(directory) or usual_tokenizer(config),
    )


def newest_index(directory: Path) -> Path | None:
    """Return the index of the checkpoint that the file `checkpoint` names, or the only one."""
    found = sorted(directory.glob("*.index"))
    note = directory / "checkpoint"
    if note.is_file():
        text = note.read_text(encoding="utf-8", errors="replace")
        named = re.search(r'^model_checkpoint_path: "(?:.*/)?([^/"]+)"', text, re.MULTILINE)
        if named and (directory / f"{named[1]}.index").is_file():
            return directory / f"{named[1]}.index"
    return found[0] if len(found) == 1 else None


def _tensors(index: Path) -> Iterator[tuple[str, StoredTensor]]:
    shards = 1
    for key, value in _table(index):
        entry = _message(value)
        if not key:  # BundleHeaderProto
            shards = _number(entry, 1) or 1
            continue
        name = _name(key.decode("utf-8"))
        if name is None:
            continue
        if _number(entry, 1) not in KINDS:
            raise CheckpointError(f"{index.name}: {name} is no float")
        kind, item = KINDS[_number(entry, 1)]
        shape = tuple(_number(_message(part), 1) for part in _shape(entry).get(2, []))
        shard = f"{index.stem}.data-{_number(entry, 3):05d}-of-{shards:05d}"
        path, offset = index.parent / shard, _number(entry, 4)
        if not path.is_file():
            raise CheckpointError(f"{shard} is missing, and {index.name} needs it")
        if 7 in entry or prod(shape) * item != _number(entry, 5):
            raise ValueError("sizes that do not fit")
        if offset + prod(shape) * item > path.stat().st_size:
            raise CheckpointError(f"{shard} is cut short")
        tensor = tensor_in_file(path, offset, shape, kind)
        is_convolution = len(shape) == 3 and shape[0] == 1
        yield name, tensor.reshaped(shape[1:] if is_convolution else shape)


def _name(name: str) -> str | None:
    """GPT2LMHeadModel's name for OpenAI's; None for what is no weight, such as Adam's moments.

    >>> _name("model/h3/attn/c_attn/w")
    'h.3.attn.c_attn.weight'
    """
    match = NAME.fullmatch(name)
    if match is None:
        return None
    *modules, leaf = match["module"].split("/")
    if not modules:
        return f"{leaf}.weight" if leaf in ("wte", "wpe") else None
    if leaf not in LEAVES or len(modules) > 2:
        return None
    layer = f"h.{match['layer']}." if match["layer"] else ""
    return f"{layer}{'.'.join(modules)}.{LEAVES[leaf]}"


def _shape(entry: Message) -> Message:
    return _message(entry[2][0]) if 2 in entry else {}


def _number(message: Message, field: int) -> int:
    value = message.get(field, [0])[0]
    if type(value) is not int:
        raise ValueError("no number")
    return value


def _table(index: Path) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB table."""
    if index.stat().st_size > LARGEST_INDEX:
        raise CheckpointError(f"{index.name} is larger than any index of tensors")
    data = index.read_bytes()
    if len(data) < FOOTER_BYTES or data[-8:] != MAGIC:
        raise ValueError("no table")
    footer = data[-FOOTER_BYTES:]
    _, at = _handle(footer, 0)  # of the block about blocks
    handle, _ = _handle(footer, at)
    for _, value in _block(data, *handle):
        block, _ = _handle(value, 0)
        yield from _block(data, *block)


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block: a key without what it shares with the one before, and a value."""
    block = data[offset : offset + size]
    if len(block) != size or data[offset + size]:
        raise ValueError("cut short, or compressed, as TensorFlow's indexes are not")
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if at + own + length > end:
            raise ValueError("behind the end")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _message(data: bytes) -> Message:
    """The fields of a protobuf message by number: numbers, and bytes of what is longer."""
    found: Message = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: Any
        if tag & 7 == 0:
            value, at = _varint(data, at)
        else:
            fixed = {1: 8, 5: 4}.get(tag & 7)
            if fixed is None and tag & 7 != 2:
                raise ValueError("no protobuf")
            size, at = (fixed, at) if fixed is not None else _varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError("behind the end")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("no number")


def _tokenizer(directory: Path) -> Tokenizer | None:
    """The tokenizer of encoder.json and vocab.bpe, GPT-2's first names for its files."""
    words, merges = directory / "encoder.json", directory / "vocab.bpe"
    if not (words.is_file() and merges.is_file()):
        return None
    vocabulary = read_json(words)
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")[1:]
        pairs = [line.partition(" ") for line in lines if line]
        tokenizer = byte_level_bpe(vocabulary, [(left, right) for left, _, right in pairs])
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise CheckpointError("vocab.bpe is broken: it is not UTF-8") from None
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"encoder.json or vocab.bpe is broken ({error})") from None
    if END_OF_TEXT in vocabulary:
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return tokenizer

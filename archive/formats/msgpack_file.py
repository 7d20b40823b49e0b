"""Flax's flax_model.msgpack: where each array lies, found without reading them.

A tree of maps whose leaves are arrays, each in an extension of type 1 that holds (shape, dtype,
bytes). Flax cuts arrays beyond 1 GB into chunks, which GPT-2's sizes do not reach.
https://flax.readthedocs.io (serialization), https://github.com/msgpack/msgpack
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from archive.errors import CheckpointError
from archive.formats.tensors import StoredTensor, tensor_in_file

ARRAY = 1  # Flax's extension type
KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}
DEEPEST = 32
# GPT2LMHeadModel's names for what Flax calls otherwise; its kernels are [out, in].
LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}


@dataclass(frozen=True)
class Span:
    """Bytes of the file: an extension's, a binary's."""

    start: int
    length: int
    kind: int = 0


def read_flax(path: Path) -> dict[str, StoredTensor]:
    """Return the arrays of a file by GPT2LMHeadModel's names.

    Raises CheckpointError if it is broken or cut short.
    """
    with path.open("rb") as file:
        try:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise CheckpointError(f"{path.name} is empty") from None
        with view:
            try:
                tree = _Unpacker(view).value()
                return dict(_arrays(path, view, tree, ()))
            except (IndexError, struct.error, ValueError, TypeError, RecursionError):
                raise CheckpointError(f"{path.name} is broken or cut short") from None


def _arrays(
    path: Path, view: mmap.mmap, tree: Any, names: tuple[str, ...]
) -> Iterator[tuple[str, StoredTensor]]:
    if isinstance(tree, dict):
        for name, part in tree.items():
            yield from _arrays(path, view, part, (*names, str(name)))
    elif isinstance(tree, Span) and tree.kind == ARRAY:
        *parents, leaf = names
        tensor = _array(path, view, tree)
        is_dense = "lm_head" in parents  # [in, out], where Flax's Conv1D is [out, in]
        name = ".".join([*parents, LEAVES.get(leaf, leaf)])
        yield name, tensor.transposed() if is_dense else tensor


def _array(path: Path, view: mmap.mmap, span: Span) -> StoredTensor:
    shape, dtype, data = _Unpacker(view, span.start, span.start + span.length).value()
    kind = KINDS.get(dtype)
    if kind is None:
        raise CheckpointError(f"{path.name} holds {dtype}; floats are needed")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("a shape is invalid")
    if not isinstance(data, Span) or data.length != prod(shape) * ITEM_BYTES[kind]:
        raise ValueError("the size of an array does not match its shape")
    return tensor_in_file(path, data.start, tuple(shape), kind)


class _Unpacker:
    """Reads msgpack, but for long bytes, of which it says where they lie."""

    def __init__(self, view: mmap.mmap, start: int = 0, end: int | None = None) -> None:
        self._view, self._at = view, start
        self._end = len(view) if end is None else end
        self._depth = 0

    def value(self) -> Any:
        """Return the next value."""
        first = self._number("B", 1)
        if first < 0x80:
            return first
        if first < 0x90:
            return self._map(first & 0x0F)
        if first < 0xA0:
            return self._list(first & 0x0F)
        if first < 0xC0:
            return self._text(first & 0x1F)
        if first >= 0xE0:
            return first - 0x100
        return self._long(first)

    def _long(self, first: int) -> Any:
        constants = {0xC0: None, 0xC2: False, 0xC3: True}
        if first in constants:
            return constants[first]
        numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
        numbers |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
        if first in numbers:
            return self._number(numbers[first], struct.calcsize(numbers[first]))
        fixed = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
        if first in fixed:
            return self._span(fixed[first], self._number("B", 1))
        sizes = {"B": 1, ">H": 2, ">I": 4}
        for base, read in ((0xC4, self._span), (0xC7, None), (0xD9, self._text)):
            if base <= first < base + 3:
                layout = list(sizes)[first - base]
                length = self._number(layout, sizes[layout])
                return read(length) if read else self._span(length, self._number("B", 1))
        for base, many in ((0xDC, self._list), (0xDE, self._map)):
            if base <= first < base + 2:
                layout = list(sizes)[1 + first - base]
                return many(self._number(layout, sizes[layout]))
        raise ValueError("no msgpack")

    def _number(self, layout: str, size: int) -> Any:
        (value,) = struct.unpack(layout, self._bytes(size))
        return value

    def _bytes(self, size: int) -> bytes:
        start = self._skip(size)
        return self._view[start : start + size]

    def _skip(self, size: int) -> int:
        if size > self._end - self._at:
            raise ValueError("beyond the end")
        self._at += size
        return self._at - size

    def _text(self, size: int) -> str:
        return self._bytes(size).decode("utf-8")

    def _span(self, size: int, kind: int = 0) -> Span:
        return Span(self._skip(size), size, kind)

    def _list(self, count: int) -> list[Any]:
        self._enter(count)
        values = [self.value() for _ in range(count)]
        self._depth -= 1
        return values

    def _map(self, count: int) -> dict[Any, Any]:
        self._enter(count)
        values = {self.value(): self.value() for _ in range(count)}
        self._depth -= 1
        return values

    def _enter(self, count: int) -> None:
        """Go one level down, for values of which each has a byte at least."""
        self._depth += 1
        if self._depth > DEEPEST or count > self._end - self._at:
            raise ValueError("nested too deeply, or beyond the end")

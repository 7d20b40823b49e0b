"""Tensors of the Open Inference Protocol: in JSON, or as bytes behind it (the binary extension).

Nothing is known here of what a tensor is for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

from handler.content.charsets import decode
from handler.errors import BadRequest

BYTES, BOOL = "BYTES", "BOOL"
# The letters of `struct`, little-endian without padding.
LETTERS = {
    **{BOOL: "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q"},
    **{"INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q"},
    **{"FP16": "e", "FP32": "f", "FP64": "d"},
}
WHOLE = frozenset(name for name in LETTERS if "INT" in name)
# Reading more would hold everybody up.
MOST_STRINGS, MOST_DIMENSIONS = 1000, 8
BINARY_SIZE = "binary_data_size"


@dataclass(frozen=True)
class Tensor:
    """One tensor: its elements row by row; those of BYTES are strings.

    Attributes:
        name: What the client calls it.
        datatype: One of LETTERS, or BYTES.
        shape: As it is given; -1 is any number, and empty is not given.
        values: Its elements.
        parameters: Beside it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]
    parameters: dict[str, Any]

    @property
    def rows(self) -> list[list[Any]]:
        """Its elements by its last dimension; a vector is one row."""
        width = self.shape[-1] if len(self.shape) > 1 else len(self.values)
        if width < 1:
            width = len(self.values)
        return [self.values[i : i + width] for i in range(0, len(self.values), width)]


def read(items: Any, tail: bytes) -> list[Tensor]:
    """Read the tensors of a request; `tail` is what follows its JSON.

    Raises:
        BadRequest: One of them is none, or says other sizes than it has.
    """
    if not isinstance(items, list) or not items:
        raise BadRequest("`inputs` must be a list of tensors", param="inputs", code="list_type")
    found = []
    for number, item in enumerate(items):
        tensor, tail = _read(f"inputs[{number}]", item, tail)
        found.append(tensor)
    if tail:
        raise BadRequest(
            f"{len(tail)} bytes follow the last tensor; `{BINARY_SIZE}` says how many each has",
            param="inputs",
            code="invalid_tensor",
        )
    return found


def _read(where: str, item: Any, tail: bytes) -> tuple[Tensor, bytes]:
    if not isinstance(item, dict):
        raise _wrong(where, "must be an object with `name`, `shape`, `datatype` and `data`")
    name, datatype = item.get("name"), item.get("datatype")
    if not isinstance(name, str):
        raise _wrong(f"{where}.name", "must be a string")
    if not isinstance(datatype, str) or datatype not in (BYTES, *LETTERS):
        known = ", ".join((BYTES, *LETTERS))
        raise _wrong(f"{where}.datatype", f"must be one of {known}")
    parameters = item.get("parameters")
    if not isinstance(parameters, (dict, type(None))):
        raise _wrong(f"{where}.parameters", "must be an object")
    parameters = dict(parameters or {})
    size = parameters.pop(BINARY_SIZE, None)
    if size is None:
        values = _elements(where, item.get("data"), datatype)
    else:
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(tail):
            raise _wrong(
                f"{where}.parameters.{BINARY_SIZE}",
                f"must be a number of bytes, of which {len(tail)} follow the JSON",
            )
        values, tail = _unpacked(where, tail[:size], datatype), tail[size:]
    shape = _shape(where, item.get("shape"), len(values))
    return Tensor(name, datatype, shape, values, parameters), tail


def _shape(where: str, given: Any, count: int) -> tuple[int, ...]:
    """The shape of so many elements; one number may stand for a list of one."""
    if given is None:
        return ()
    shape = given if isinstance(given, list) else [given]
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in shape):
        raise _wrong(f"{where}.shape", "must be a list of whole numbers")
    known = prod(each for each in shape if each != -1)
    is_open = -1 in shape
    if min(shape, default=0) < -1 or (count % known if is_open and known else count != known):
        raise _wrong(f"{where}.shape", f"is {shape}, and there are {count} elements")
    return tuple(shape)


def _elements(where: str, data: Any, datatype: str) -> list[Any]:
    """The elements of JSON data, nested as the shape is or flat; one may stand for a list of one.

    Types are judged all at once: of numbers there may be as many as a body holds.
    """
    values = _flat(where, data, MOST_DIMENSIONS) if isinstance(data, list) else [data]
    kinds = set(map(type, values))
    if datatype == BYTES:
        if kinds <= {str}:
            return _few(where, values)
        raise _wrong(f"{where}.data", f"must be a list of strings: it is {datatype}")
    if datatype == BOOL:
        if kinds <= {bool, int} and set(values) <= {0, 1}:
            return list(map(bool, values))
        raise _wrong(f"{where}.data", f"must be a list of booleans: it is {datatype}")
    if not kinds <= {int, float}:
        raise _wrong(f"{where}.data", f"must be a list of numbers: it is {datatype}")
    if datatype not in WHOLE or float not in kinds:
        return values
    if not all(float(value).is_integer() for value in values):
        raise _wrong(f"{where}.data", f"must contain whole numbers: it is {datatype}")
    return list(map(int, values))


def _flat(where: str, data: list[Any], depth: int) -> list[Any]:
    if list not in set(map(type, data)):
        return data
    if not depth:
        raise _wrong(f"{where}.data", f"has more than {MOST_DIMENSIONS} dimensions")
    found: list[Any] = []
    for inner in data:
        found += _flat(where, inner, depth - 1) if isinstance(inner, list) else [inner]
    return found


def _few(where: str, strings: list[str]) -> list[str]:
    if len(strings) > MOST_STRINGS:
        raise _wrong(where, f"has {len(strings)} strings; at most {MOST_STRINGS} are allowed")
    return strings


def _unpacked(where: str, raw: bytes, datatype: str) -> list[Any]:
    """The elements of binary data."""
    if datatype == BYTES:
        return _few(where, list(islice(_strings(where, raw), MOST_STRINGS + 1)))
    letter = LETTERS[datatype]
    size = struct.calcsize(f"<{letter}")
    if len(raw) % size:
        raise _wrong(where, f"has {len(raw)} bytes; an element of {datatype} has {size}")
    return list(struct.unpack(f"<{len(raw) // size}{letter}", raw))


def _strings(where: str, raw: bytes) -> Iterator[str]:
    """BYTES: before each element its length, as four bytes."""
    start = 0
    while start < len(raw):
        end = start + 4
        length = int.from_bytes(raw[start:end], "little")
        if len(raw) < end + length:
            raise _wrong(
                where, "ends early: each element of BYTES is preceded by its length in four bytes"
            )
        yield decode(raw[end : end + length], "")
        start = end + length


def packed(strings: Sequence[str]) -> bytes:
    """Elements of BYTES as binary data."""
    encoded = [text.encode("utf-8", "replace") for text in strings]
    return b"".join(len(each).to_bytes(4, "little") + each for each in encoded)


def _wrong(where: str, says: str) -> BadRequest:
    return BadRequest(f"`{where}` {says}", param=where.split("[")[0], code="invalid_tensor")

"""Takes plain values out of a pickle without running it: dictionaries, lists, strings and numbers.

Python's own unpickler is not used: of the opcodes that `pickletools` knows, only those that
build plain values are known here. One that names a class or calls something ends the reading.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archive.errors import CheckpointError

# A vocabulary of all of Unicode's characters, twice, is smaller.
LARGEST = 32_000_000
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TEXTS_AND_NUMBERS = {
    *("INT", "LONG", "FLOAT", "BINFLOAT", "BININT", "BININT1", "BININT2", "LONG1", "LONG4"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
NOTHING = {"PROTO", "FRAME", "STOP"}
KEYS = (str, int, float, bool, type(None))


def read_inert(path: Path) -> Any:
    """Return the value that a pickle of plain values holds.

    Raises CheckpointError if it is broken, holds anything else, or is larger than LARGEST.
    """
    if path.stat().st_size > LARGEST:
        raise CheckpointError(f"{path.name} is larger than any vocabulary")
    reader = _Reader()
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            if not reader.take(opcode.name, argument):
                raise CheckpointError(
                    f"{path.name} is a pickle that contains more than strings and numbers "
                    f"({opcode.name}), which is never run here"
                )
        return reader.value()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error):
        raise CheckpointError(f"{path.name} is broken or cut short, or no pickle") from None


class _Reader:
    """A stack of values, of which some are remembered."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memory: dict[int, Any] = {}

    def value(self) -> Any:
        """Return the only value that is left."""
        (value,) = self._stack
        return value

    def take(self, name: str, argument: Any) -> bool:
        """Do what an opcode says; False if it is none of those that build plain values."""
        stack = self._stack
        if name in TEXTS_AND_NUMBERS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in PUTS:
            self._memory[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memory[len(self._memory)] = stack[-1]
        elif name in GETS:
            stack.append(self._memory[argument])
        elif name == "MARK":
            self._marks.append(len(stack))
        else:
            return self._gather(name)
        return True

    def _gather(self, name: str) -> bool:
        stack = self._stack
        if name in TUPLES:
            stack.append(tuple(self._last(TUPLES[name])))
        elif name == "SETITEM":
            self._set(self._last(2))
        elif name == "APPEND":
            self._extend(self._last(1))
        elif name == "SETITEMS":
            self._set(self._since_mark())
        elif name == "APPENDS":
            self._extend(self._since_mark())
        elif name in ("TUPLE", "LIST"):
            values = self._since_mark()
            stack.append(tuple(values) if name == "TUPLE" else values)
        elif name == "DICT":
            values = self._since_mark()
            stack.append({})
            self._set(values)
        else:
            return name in NOTHING
        return True

    def _last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("too few values")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _set(self, values: list[Any]) -> None:
        found, keys = self._stack[-1], values[::2]
        if not isinstance(found, dict) or len(values) % 2:
            raise ValueError("no dictionary")
        if not all(isinstance(key, KEYS) for key in keys):
            raise ValueError("no key")
        found.update(zip(keys, values[1::2], strict=True))

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("no list")
        self._stack[-1].extend(values)

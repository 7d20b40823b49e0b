"""Standard input, output and error as Unix hands them over: closed, broken, full, any charset."""

from __future__ import annotations

import codecs
import os
import sys
from typing import BinaryIO, TextIO, cast

# How each is opened where it was closed: so that using it fails as using a closed one does, and no
# socket or file of ours gets its number.
_WRONG_WAY = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}
# The marks that Windows' editors and shells begin such text with.
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class OutputError(Exception):
    """Standard output takes no more; `is_left` where its reader has gone (`gpt2 ... | head`)."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror}")
        self.is_left = isinstance(error, BrokenPipeError)


class InputError(Exception):
    """Standard input cannot be read, or holds no text."""


def prepare(is_json: bool = False) -> None:
    """Make the three usable, whatever they are; JSON goes out in UTF-8 alone."""
    for number, flags in _WRONG_WAY.items():
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if is_json and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")


def write(out: TextIO, text: str) -> None:
    """Write at once.

    Raises:
        OutputError: It cannot be done.
    """
    try:
        out.write(text)
        out.flush()
    except OSError as error:
        silence(out)
        raise OutputError(error) from None


def silence(out: TextIO) -> None:
    """Send what is held back, and what follows, nowhere; or Python would try again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


def read_text() -> str:
    """Read standard input to its end, as UTF-8.

    Raises:
        InputError: It is closed, or not UTF-8.
    """
    try:
        return decoded(_input().read())
    except OSError as error:
        raise InputError(f"cannot read standard input: {error.strerror}") from None


def read_line(number: int) -> str:
    """Read line `number` (from 1) of standard input, as UTF-8; raises EOFError behind the last one.

    Raises:
        InputError: It is closed, or not UTF-8.
    """
    try:
        line = _input().readline()
    except OSError as error:
        raise InputError(f"cannot read standard input: {error.strerror}") from None
    if not line:
        raise EOFError
    return decoded(line, number).rstrip("\r\n")


def decoded(data: bytes, first_line: int = 1, what: str = "standard input") -> str:
    """Return UTF-8 as text, without a byte order mark.

    Raises:
        InputError: It is something else; the message says where.
    """
    try:
        return data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        # Positions count from the beginning of the data, mark included.
        at = error.start + (len(data) - len(error.object))
        line = first_line + data.count(b"\n", 0, at)
        marked = first_line == 1 and data.startswith(UTF_16)
        meant = "UTF-16" if marked else "WINDOWS-1252"
        raise InputError(
            f"{what} is not UTF-8: byte 0x{data[at]:02X} at position {at} (line {line}); "
            f"convert it first, as with `iconv -f {meant} -t UTF-8`"
        ) from None


def argument(text: str, what: str) -> str:
    """Return an argument of the command line; one that was not text in its charset is refused.

    Raises:
        InputError: It is none.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        decoded(os.fsencode(text), what=what)
        raise InputError(f"{what} contains a lone surrogate (half a character)")
    return text


def _input() -> BinaryIO:
    if sys.stdin is None:  # closed when we began
        return cast(BinaryIO, os.fdopen(0, "rb", closefd=False))
    return sys.stdin.buffer

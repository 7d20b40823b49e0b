"""Numbers as they are typed; a wrong one is answered with what was probably meant."""

from __future__ import annotations

import argparse

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

MOST_PARALLEL = 1024  # each is a thread


def seconds(text: str) -> float:
    """Read a time above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0 seconds")
    return value


def whole(text: str) -> int:
    """Read a whole number; the server says which of them it takes."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number{_meant(text)}") from None


def number(text: str) -> float:
    """Read a number; the server says which of them it takes."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number{_meant(text)}") from None


def count(text: str) -> int:
    """Read a whole number of at least 0."""
    value = whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def parallel(text: str) -> int:
    """Read how many may be out at once."""
    value = count(text)
    if not 1 <= value <= MOST_PARALLEL:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MOST_PARALLEL}")
    return value


def workers(text: str) -> int:
    """Read a number of workers; a model's name instead is reported."""
    try:
        return count(text)
    except argparse.ArgumentTypeError as error:
        is_name = text.lower() not in WORDS and any(letter.isalpha() for letter in text)
        hint = f"; a number of workers comes last, as in `{text} 2`" if is_name else ""
        raise argparse.ArgumentTypeError(f"{error}{hint}") from None


def _meant(text: str) -> str:
    if text.lower() in WORDS:
        return f"; did you mean {WORDS.index(text.lower())}?"
    return ""

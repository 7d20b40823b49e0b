"""Tells whether a text is English, for LANGUAGE_GATE. The detector is loaded on first use."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

# Below this a detector guesses; names and single words pass. A letter of a script that writes
# syllables or words (and no Latin) tells more.
LEAST_LATIN_LETTERS = 20
LEAST_OTHER_LETTERS = 6
MOST_BYTES = 2000


def foreign_language(text: str) -> str | None:
    """Return the language code of a text that is plainly not English, else None."""
    sample = text[:MOST_BYTES]
    letters = [character for character in sample if character.isalpha()]
    other = sum(1 for letter in letters if not _is_latin(letter))
    if len(letters) < LEAST_LATIN_LETTERS and other < LEAST_OTHER_LETTERS:
        return None
    result = _detector().FindLanguage(text=sample.encode("utf-8", "ignore").decode())
    if not result.is_reliable or result.language in ("en", "und"):
        return None
    return str(result.language)


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")


@lru_cache(maxsize=1)
def _detector() -> Any:
    import gcld3  # type: ignore[import-untyped]

    return gcld3.NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=MOST_BYTES)

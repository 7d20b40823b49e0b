"""Finds out whether a text is English, for LANGUAGE_GATE. The detector is loaded on first use."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from gateway.errors import BadRequest
from gateway.web.exchange import Exchange

LANGUAGE_ERROR = "lang_det_err"

# Below this a detector guesses; names and single words pass. A letter of a script that writes
# syllables or words (and no Latin) says more.
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


def note_language(exchange: Exchange, text: str, gate: str) -> str | None:
    """Note the language of a text that is not English in log and reply, and return it."""
    language = None if gate == "off" else foreign_language(text)
    if language is not None:
        exchange.record.language = language
        exchange.reply_headers.append((b"x-language-warning", language.encode()))
    return language


def refuse_foreign(exchange: Exchange, text: str, gate: str) -> None:
    """Note the language of a text, and refuse one that is not English where that is set.

    Raises:
        BadRequest: It is refused.
    """
    language = note_language(exchange, text, gate)
    if language is not None and gate == "refuse":
        raise BadRequest(
            f"The text does not look English (`{language}`); this model writes English",
            param="prompt",
            code=LANGUAGE_ERROR,
        )


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")


@lru_cache(maxsize=1)
def _detector() -> Any:
    import gcld3  # type: ignore[import-untyped]

    return gcld3.NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=MOST_BYTES)

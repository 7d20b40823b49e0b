"""Characters that hardly belong into a text: counted, named, made such that they can be kept."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from training.reading.document import Document

# Control characters but tab and line ends; what nobody sees (soft hyphens, zero width, marks that
# turn the direction; not the joiners, which Persian, Hindi and emoji need); two letters in one, as
# PDFs have them; lone surrogates; U+FFFD, which stands for bytes that somebody before us could not
# read; what is no character at all.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u2028-\u202e\u2060-\u2069\ufb00-\ufb06"
    "\ud800-\udfff\ufff9-\uffff]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_NAMES = {0x00: "NUL", 0x0B: "vertical tab", 0x0C: "form feed", 0x1A: "Ctrl-Z", 0x1B: "escape"}
_SHOWN = 5


def holdable(text: str) -> str:
    """Without lone surrogates, which no encoding, so no tokenizer, can hold."""
    return _SURROGATES.sub(_REPLACEMENT, text)


def odd_characters(documents: Iterable[Document]) -> str | None:
    """One line that counts and names odd characters, and where the first one stands."""
    counts: Counter[str] = Counter()
    first = None
    for document in documents:
        found = _ODD.findall(document.text)
        if found and first is None:
            before = document.text[: document.text.index(found[0])]
            first = f"{document.source} line {document.line + before.count(chr(10))}"
        counts.update(found)
    if first is None:
        return None
    named = [f"{_name(character)} {count:,}" for character, count in counts.most_common(_SHOWN)]
    if len(counts) > _SHOWN:
        named.append(f"{len(counts) - _SHOWN} others")
    return f"{counts.total():,} odd characters ({', '.join(named)}), the first in {first}"


def _name(character: str) -> str:
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        what = "half a character, learnt as U+FFFD"
    else:
        what = _NAMES.get(code, unicodedata.name(character, "control character").lower())
    return f"U+{code:04X} ({what})"

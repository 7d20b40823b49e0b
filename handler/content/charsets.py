"""Parses content types, and decodes bytes as they say."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from handler.content.utf8 import is_whole
from handler.errors import BadRequest

# Python's own ways to write a text down, and those whose time grows with the square of the length.
NO_CHARSETS = frozenset(
    {"idna", "punycode", "raw_unicode_escape", "raw-unicode-escape", "undefined"}
    | {"unicode_escape", "unicode-escape", "mbcs", "oem"}
)
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A parameter behind a header's value. Python's own parser takes quadratic time for hostile ones.
PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
ESCAPED = re.compile(r"\\(.)")
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class ContentType:
    """A header `Content-Type`, taken apart."""

    kind: str = ""  # small letters; empty where there is none
    charset: str = ""
    boundary: str = ""

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return self.kind in ("application/json", "text/json") or self.kind.endswith("+json")

    @property
    def is_form(self) -> bool:
        """Whether the body holds fields."""
        return self.is_urlencoded or self.is_multipart

    @property
    def is_urlencoded(self) -> bool:
        """Whether the body is a form as `curl -d` sends it."""
        return self.kind == "application/x-www-form-urlencoded"

    @property
    def is_multipart(self) -> bool:
        """Whether the body is a form as `curl -F` sends it."""
        return self.kind == "multipart/form-data"


def parse_content_type(value: str) -> ContentType:
    """Take a `Content-Type` apart; what is no type counts as none."""
    found = parameters(value)
    kind = value.partition(";")[0].strip().lower()
    return ContentType(kind, found.get("charset", "").strip(), found.get("boundary", "").strip())


def parameters(value: str) -> dict[str, str]:
    """The parameters of a header such as `Content-Type`, by their names in small letters."""
    found: dict[str, str] = {}
    for name, text in PARAMETER.findall(value):
        if text[:1] == '"' == text[-1:] and len(text) > 1:
            text = ESCAPED.sub(r"\1", text[1:-1])
        found.setdefault(name.lower(), text)
    return found


def decode(body: bytes, charset: str) -> str:
    """The text of a body: in `charset`, else as its byte order mark says, else in UTF-8.

    Raises:
        BadRequest: There is no such charset, or the bytes are not in it.
    """
    if not charset:
        marked = next((name for mark, name in MARKS if body.startswith(mark)), None)
        charset = marked or "utf-8"
    try:
        text = body.decode(_known(charset))
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The text is not valid {charset[:40].upper()} at byte {error.start}; name its "
            "charset in the header, such as `Content-Type: text/plain; charset=latin-1`",
            param="prompt",
            code="invalid_text",
        ) from None
    if not is_whole(text):  # some charsets can spell half a character
        raise BadRequest(
            "The text contains a lone surrogate (half a character)",
            param="prompt",
            code="lone_surrogate",
        )
    return text[1:] if text.startswith(BYTE_ORDER_MARK) else text


def _known(charset: str) -> str:
    try:
        found = codecs.lookup(charset)
        if getattr(found, "_is_text_encoding", True) and found.name not in NO_CHARSETS:
            return found.name
    except (LookupError, ValueError):  # a name with a NUL is a ValueError
        pass
    name = charset[:40].encode("ascii", "backslashreplace").decode()
    raise BadRequest(
        f"There is no charset `{name}`; send the text in UTF-8", param="charset", code="charset"
    )

"""Splits forms and queries into fields (RFC 7578, and what `curl -d` sends).

In a worker TorchServe's front end has done this already; here nothing has.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from gateway.errors import BadRequest
from handler.content.charsets import ContentType, parameters
from handler.requests.question import Field

MAX_BOUNDARY = 70  # RFC 2046
MAX_PART_HEAD = 8192
PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")


def take_apart(body: bytes, kind: ContentType, most: int) -> list[Field]:
    """The fields of a form, in their order; `most` of them.

    Raises:
        BadRequest: It is no form, or holds more.
    """
    if kind.is_multipart:
        return _multipart(body, kind.boundary, most)
    return pairs(body, most, kind.charset)


def pairs(text: bytes, most: int, charset: str = "") -> list[Field]:
    """The fields of a query, or of a form that is written like one.

    Raises:
        BadRequest: There are more than `most`.
    """
    if text.count(b"&") >= most:
        raise _too_many(most)
    # As Latin-1 every byte is a character and back: the charset is for the reader to judge.
    found = parse_qsl(text.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    kind = f"text/plain; charset={charset}" if charset else ""
    return [
        Field(name.encode("latin-1").decode("utf-8", "replace"), value.encode("latin-1"), kind)
        for name, value in found
    ]


def _multipart(body: bytes, boundary: str, most: int) -> list[Field]:
    line = f"--{boundary}".encode("latin-1", "replace")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise BadRequest(
            f"The header `Content-Type` of a form must name a `boundary` of 1 to {MAX_BOUNDARY} "
            "characters",
            param="content-type",
            code="invalid_form",
        )
    delimiter = b"\r\n" + line
    body = b"\r\n" + body
    if body.count(delimiter) > most + 1:
        raise _too_many(most)
    _, *parts = body.split(delimiter)
    found: list[Field] = []
    for part in parts:
        if part.startswith(b"--"):
            return found
        found.append(_field(part))
    raise BadRequest("The form ends before its last boundary", code="invalid_form")


def _field(part: bytes) -> Field:
    """One part of a form. What follows its boundary in the line may be blanks alone."""
    blanks, line_end, rest = part.partition(b"\r\n")
    # A part without headers begins with the empty line that ends them.
    head, head_end, value = (b"\r\n" + rest).partition(b"\r\n\r\n")
    if blanks.strip(b" \t") or not line_end or not head_end:
        raise BadRequest("The headers of a part of the form are incomplete", code="invalid_form")
    if len(head) > MAX_PART_HEAD:
        raise BadRequest(
            f"The headers of a part of the form are longer than {MAX_PART_HEAD} bytes",
            code="invalid_form",
        )
    lines = [line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n")]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    encoding = headers.get("content-transfer-encoding", "").lower()
    if encoding not in PLAIN_ENCODINGS:
        raise BadRequest(
            f"A part of the form has the encoding `{encoding[:40]}`; send it without one",
            param="content-transfer-encoding",
            code="invalid_form",
        )
    return Field(_name(headers), value, headers.get("content-type", ""))


def _name(headers: Mapping[str, str]) -> str:
    name = parameters(headers.get("content-disposition", "")).get("name")
    if not name:
        raise BadRequest(
            "A part of the form has no name; its header must be like "
            '`Content-Disposition: form-data; name="data"`',
            param="content-disposition",
            code="invalid_form",
        )
    return name


def _too_many(most: int) -> BadRequest:
    return BadRequest(f"There are more than {most} fields", code="too_many_fields")

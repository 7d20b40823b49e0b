"""Reads the head of a request as RFC 9112 has it: llhttp parses, and we judge what it leaves open.

A body does not go through it: it bounds none, and drops one that comes with an offer to upgrade.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NoReturn

import httptools

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(%b) ([^\x00-\x20\x7f-\xff#]+) HTTP/(\d\.\d)" % TOKEN)
# Bytes that no head holds; waiting for its end before they are refused would only cost time.
STRAY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
# An empty one is right: RFC 9112 wants it where the target has no host. A host in brackets is IPv6.
HOST = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})*+)(?::(\d*))?"
)
HIGHEST_PORT = 65_535
ABSOLUTE_FORM = re.compile(rb"(?i:https?)://([^/?]+)(.*)")
END = b"\r\n\r\n"
# Of a number: more are zeros in front, of which a head has room for thousands.
MOST_DIGITS = 20

Fields = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """A message that is answered by the server itself; its connection is closed."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's head says."""

    method: str
    path: bytes
    query: bytes
    version: str
    fields: Fields
    # Bytes of its body; None where chunks say so.
    length: int | None
    keeps_alive: bool
    expects_continue: bool


def begin_of_head(received: bytearray) -> int:
    """Return where the request line begins: empty lines before it are passed over."""
    return len(received) - len(received.lstrip(END))


def check_start(received: bytearray, begin: int, since: int, end: int) -> None:
    """Refuse what cannot become a head as soon as it is seen, not only where a head would end.

    The head begins at `begin`; `since` is how far it was looked at before.

    Raises:
        Refusal: It is not HTTP/1.1.
    """
    if STRAY.search(received, max(0, since - 1), end):
        _refuse()
    end_of_line = received.find(b"\r\n", begin, end)
    if end_of_line >= 0:
        _read_request_line(bytes(received[begin:end_of_line]))


def read_head(block: bytes) -> Head:
    """Read a whole head, with the empty line at its end.

    Raises:
        Refusal: It is not sound.
    """
    parsed = _parse(block)
    method, target, version = _read_request_line(block[: block.index(b"\r\n")])
    hosts = parsed.all(b"host")
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        _refuse("A request must have exactly one Host header")
    if any(not _is_host(host) for host in hosts):
        _refuse("The Host header is not valid")
    path, query = _split_target(method, target, parsed)
    connection = parsed.tokens(b"connection")
    keeps_alive = b"close" not in connection and (version == "1.1" or b"keep-alive" in connection)
    # An expectation of HTTP/1.0 is to be ignored: such a client takes no interim reply.
    expects = version == "1.1" and b"100-continue" in parsed.tokens(b"expect")
    length = _length(version, parsed)
    fields = parsed.fields
    return Head(method, path, query, version, fields, length, keeps_alive, expects)


class _Parsed:
    """What llhttp calls back with."""

    def __init__(self) -> None:
        self.fields: Fields = []
        self._by_name: dict[bytes, list[bytes]] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip(b" \t")
        self.fields.append((name, value))
        self._by_name.setdefault(name, []).append(value)

    def all(self, name: bytes) -> list[bytes]:
        return self._by_name.get(name, [])

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a field that is a list."""
        values = self.all(name)
        if not values:
            return []
        listed = b",".join(values).lower().split(b",")
        return [token for token in map(bytes.strip, listed) if token]


def _parse(block: bytes) -> _Parsed:
    parsed = _Parsed()
    try:
        httptools.HttpRequestParser(parsed).feed_data(block)
    except httptools.HttpParserUpgrade:
        pass  # an offer, which is not taken up
    except httptools.HttpParserInvalidMethodError:
        raise Refusal(501, "This method is not supported", "not_implemented") from None
    except httptools.HttpParserError:
        _refuse()
    return parsed


def _read_request_line(line: bytes) -> tuple[str, bytes, str]:
    found = REQUEST_LINE.fullmatch(line)
    if not found:
        _refuse()
    version = found[3].decode()
    if version not in ("1.1", "1.0"):
        _refuse(f"HTTP/{version} is not supported")
    return found[1].decode(), found[2], version


def _is_host(value: bytes) -> bool:
    found = HOST.fullmatch(value)
    if not found:
        return False
    address, port = found[1], (found[2] or b"").lstrip(b"0")
    if len(port) > MOST_DIGITS or int(port or b"0") > HIGHEST_PORT:
        return False
    if address is not None:
        try:
            ipaddress.IPv6Address(address.decode())
        except ValueError:
            return False
    return True


def _split_target(method: str, target: bytes, parsed: _Parsed) -> tuple[bytes, bytes]:
    """Return path and query of a target in any of its forms."""
    if method == "CONNECT":
        _refuse("CONNECT is not supported")
    if target == b"*":
        if method != "OPTIONS":
            _refuse("The target `*` is only for OPTIONS")
        return target, b""
    if not target.startswith(b"/"):
        found = ABSOLUTE_FORM.fullmatch(target)
        if not found or not _is_host(found[1]) or found[1].startswith(b":"):
            _refuse("The target of the request is not valid")
        # The target's host counts, whatever the Host header says.
        parsed.fields[:] = [pair for pair in parsed.fields if pair[0] != b"host"]
        parsed.fields.append((b"host", found[1]))
        target = found[2]
        if not target and method == "OPTIONS":
            return b"*", b""
    path, _, query = target.partition(b"?")
    return path or b"/", query


def _length(version: str, parsed: _Parsed) -> int | None:
    """Return the body's length, None for chunks.

    llhttp has refused two lengths, a length beside chunks, and what does not end in `chunked`.
    """
    if codings := parsed.tokens(b"transfer-encoding"):
        if version == "1.0":
            _refuse("HTTP/1.0 has no Transfer-Encoding")
        if codings != [b"chunked"]:
            raise Refusal(501, "The only supported transfer coding is `chunked`", "not_implemented")
        return None
    lengths = parsed.all(b"content-length")
    if lengths and len(lengths[0]) > MOST_DIGITS:
        _refuse()
    return int(lengths[0]) if lengths else 0


def _refuse(message: str = "The request is not valid HTTP/1.1") -> NoReturn:
    raise Refusal(400, message, "invalid_http")

"""A grammar of HTTP, right and wrong: requests whose parts may be broken, and how they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hypothesis import strategies as st

HIDDEN = b"GET /health/ready HTTP/1.1\r\nhost: x\r\n\r\n"
LONG = b"x" * 20_000


class End(Enum):
    """What a client does behind its last byte."""

    WAITS = "waits"
    CLOSES_ITS_SIDE = "closes its side"
    LEAVES = "leaves"


@dataclass(frozen=True)
class Talk:
    """What one connection sends: some requests, cut into chunks, and how it ends."""

    requests: tuple[bytes, ...]
    cuts: tuple[int, ...]
    end: End

    def chunks(self) -> list[bytes]:
        """The bytes in the chunks that they are sent in."""
        whole = b"".join(self.requests)
        offsets = sorted({cut % (len(whole) + 1) for cut in self.cuts})
        edges = [0, *offsets, len(whole)]
        return [whole[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def _mostly(right: st.SearchStrategy[bytes], wrong: list[bytes]) -> st.SearchStrategy[bytes]:
    """What is right in three of four cases."""
    return st.one_of(right, right, right, st.sampled_from(wrong))


METHODS = _mostly(
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"]),
    [b"get", b"", b"G ET", b"PRI", b"TRACE", b"CONNECT", b"\x00", b"M" * 300, b"GET\t", b"(x)"],
)
TARGETS = _mostly(
    st.sampled_from([b"/", b"/health/live", b"/v1/tokenize", b"/nowhere", b"/v1/models"]),
    [
        *(b"", b"*", b"//", b"/%00", b"/%2e%2e/", b"/../../etc/passwd", b"/\x80", b"/\x00"),
        *(b"http://x/", b"http://", b"x:80", b"/a b", b"/?" + LONG, b"/" + LONG, b"/#f", b"\\"),
    ],
)
VERSIONS = _mostly(
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]),
    [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"http/1.1", b"HTTP/1", b"HTTP/11", b"", b"HTTP/1.1 "],
)
LINE_ENDS = _mostly(st.just(b"\r\n"), [b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b"\x0b\r\n"])
HOSTS = _mostly(
    st.just(b"host: x"),
    [
        b"",
        b"host:",
        b"host: x\r\nhost: y",
        b"host: x y",
        b"host : x",
        b"Host: x@y",
        b"host: " + LONG,
    ],
)
FRAMINGS = st.sampled_from(
    [
        *(b"content-length: 0", b"content-length: 5", b"content-length: 48", b""),
        *(b"content-length: +5", b"content-length: -1", b"content-length: 5, 5"),
        *(b"content-length: 0x5", b"content-length: 5 5", b"content-length: 99999999999999999999"),
        *(b"content-length: 1048577", b"content-length:", b"content-length : 5"),
        b"content-length: 5\r\ncontent-length: 6",
        b"content-length: 5\r\ntransfer-encoding: chunked",
        *(b"transfer-encoding: chunked",) * 6,
        *(b"transfer-encoding: Chunked", b"transfer-encoding: chunked, chunked"),
        *(b"transfer-encoding: gzip, chunked", b"transfer-encoding: identity"),
        *(b"transfer-encoding: xchunked", b"transfer-encoding: chunked;a=b"),
        *(b"transfer-encoding:\x0bchunked", b"transfer-encoding : chunked"),
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity",
        *(b"transfer-encoding:\r\n chunked", b"transfer_encoding: chunked"),
    ]
)
FIELDS = st.lists(
    st.sampled_from(
        [
            *(b"accept: */*", b"connection: close", b"connection: keep-alive", b"x:y", b"x:"),
            *(b"expect: 100-continue", b"expect: something", b"connection: close, x"),
            b"upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk",
            *(b"upgrade: websocket\r\nconnection: upgrade", b"content-type: application/json"),
            *(b"x: a\r\n b", b" x: y", b"x y: z", b": y", b"x", b"x: \x00", b"x: \x7f", b"\xff: y"),
            *(b"x: " + LONG, b"x: y\r\n" * 400 + b"x: y", b"content-encoding: gzip"),
            *(b"authorization: Bearer x", b"x-forwarded-for: 1.2.3.4, " * 50, b"te: trailers"),
            *(b"range: bytes=0-1", b"if-none-match: *", b"origin: null", b"cookie: a=b"),
        ]
    ),
    max_size=4,
)
SIZES = _mostly(
    st.just(b""),
    [
        *(b"0x", b"+", b"-", b" ", b"0" * 40, b"0" * 20_000, b"F" * 17, b"ffffffff", b"_", b"\t"),
        *(b"\x00", b"z"),
    ],
)
EXTENSIONS = _mostly(
    st.just(b""), [b";a", b";a=b", b'; a="b"', b";" + LONG, b";\n", b";a=\x00", b" ;", b";\r"]
)
TRAILERS = _mostly(
    st.just(b""),
    [b"x: y\r\n", b"x: " + LONG + b"\r\n", b"x\r\n", b"content-length: 5\r\n", b"x: y\r\n" * 3000],
)


@st.composite
def _chunked(draw: st.DrawFn) -> bytes:
    made = b""
    for _ in range(draw(st.integers(0, 4))):
        data = draw(st.sampled_from([b"x", b"hello", HIDDEN, b"{}" * 100, b"\r\n", b"0\r\n\r\n"]))
        made += draw(SIZES) + b"%x" % len(data) + draw(EXTENSIONS) + draw(LINE_ENDS)
        made += data + draw(LINE_ENDS)
    end = draw(_mostly(st.just(b"0\r\n"), [b"", b"0\n", b"00\r\n", b"0;a=b\r\n", b"-0\r\n"]))
    return made + end + draw(TRAILERS) + draw(LINE_ENDS)


BODIES = st.one_of(
    st.just(b""),
    st.just(b"hello"),
    st.just(HIDDEN),
    _chunked(),
    _chunked(),
    st.binary(max_size=60),
)


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    parts = [b" ".join([draw(METHODS), draw(TARGETS), draw(VERSIONS)])]
    parts += [field for field in (draw(HOSTS), draw(FRAMINGS), *draw(FIELDS)) if field]
    if draw(st.booleans()):
        parts[1:] = draw(st.permutations(parts[1:]))
    head = b"".join(part + draw(LINE_ENDS) for part in parts)
    body: bytes = draw(BODIES)
    return head + draw(LINE_ENDS) + body


def _twisted(whole: bytes, offset: int, byte: int) -> bytes:
    """A request with one byte exchanged."""
    offset %= len(whole)
    return whole[:offset] + bytes([byte]) + whole[offset + 1 :]


REQUESTS = st.one_of(
    _request(),
    _request(),
    st.builds(_twisted, _request(), st.integers(0, 1 << 16), st.integers(0, 255)),
    st.just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
    st.just(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)),  # TLS
    st.binary(min_size=1, max_size=200),
)
TALKS = st.builds(
    Talk,
    st.lists(REQUESTS, min_size=1, max_size=3).map(tuple),
    st.lists(st.integers(0, 1 << 16), max_size=3).map(tuple),
    st.sampled_from([End.CLOSES_ITS_SIDE, End.CLOSES_ITS_SIDE, End.WAITS, End.LEAVES]),
)

"""RFC 9112, section by section: what is sent, and the right answer.

Behind each message comes a sound request on the same connection. It is answered where the message
leaves the connection in order, and must not even be looked at where it does not.
"""

from __future__ import annotations

import json

import pytest

from tests.gateway.conftest import Service, StartStandIn
from tests.gateway.raw_http import HOST, ask, talk

NEXT = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\n"
BODY = b'{"text": "A dog"}'
POST = b"POST /v1/tokenize HTTP/1.1\r\n" + HOST
SIZED = b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKS = b"transfer-encoding: chunked\r\n\r\n"
WHOLE = b"%x\r\n%b\r\n" % (len(BODY), BODY)
H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n"
TINY = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)

# What is sent, and the statuses that come back: with 200 for the next request, or without.
SOUND = {
    # 2.1, 2.2: messages
    "a request": GET + HOST + b"\r\n",
    "an empty line before it": b"\r\n" + GET + HOST + b"\r\n",
    "two empty lines before it": b"\r\n\r\n" + GET + HOST + b"\r\n",
    "a byte beyond ASCII in a value": GET + HOST + b"x: \xc3\xa9\xff\r\n\r\n",
    # 3: request line
    "HEAD": b"HEAD /health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form": b"GET http://localhost/health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form in capitals": b"GET HTTP://LOCALHOST:1/health/live HTTP/1.1\r\n"
    + HOST
    + b"\r\n",
    "a query": b"GET /health/live?a=b%20c&d HTTP/1.1\r\n" + HOST + b"\r\n",
    "an empty host": GET + b"host:\r\n\r\n",
    "a host with a port": GET + b"host: a.example:8080\r\n\r\n",
    "an IPv6 host": GET + b"host: [::1]:8080\r\n\r\n",
    "an IPv6 host with IPv4 in it": GET + b"host: [::ffff:192.0.2.1]\r\n\r\n",
    "the highest port": GET + b"host: a.example:65535\r\n\r\n",
    "a port with zeros": GET + b"host: a.example:%b80\r\n\r\n" % (b"0" * 9000),
    "Host in capitals": GET + b"HOST: localhost\r\n\r\n",
    # 5: fields
    "no space behind the colon": GET + b"host:localhost\r\n\r\n",
    "tabs and spaces around a value": GET + b"host: \t localhost \t \r\n\r\n",
    "an empty value": GET + HOST + b"x:\r\n\r\n",
    "every character of a name": GET + HOST + b"!#$%&'*+-.^_`|~09AZaz: x\r\n\r\n",
    # 6: bodies
    "a length": POST + SIZED,
    "a length with zeros": POST + b"content-length: 000%d\r\n\r\n%b" % (len(BODY), BODY),
    "a length and blanks": POST + b"content-length: \t%d \r\n\r\n%b" % (len(BODY), BODY),
    "no body": b"GET /health/live HTTP/1.1\r\ncontent-length: 0\r\n" + HOST + b"\r\n",
    # 7.1: chunks
    "one chunk": POST + CHUNKS + WHOLE + b"0\r\n\r\n",
    "tiny chunks": POST + CHUNKS + TINY + b"0\r\n\r\n",
    "CHUNKED": POST + b"Transfer-Encoding: \tCHUNKED \r\n\r\n" + WHOLE + b"0\r\n\r\n",
    "sizes in both cases, with zeros": POST
    + CHUNKS
    + b"00B\r\n%b\r\n006\r\n%b\r\n000\r\n\r\n" % (BODY[:11], BODY[11:]),
    "extensions": POST + CHUNKS + b'11;a;b=c ; d = "e;\\"f"\r\n%b\r\n0;last\r\n\r\n' % BODY,
    "trailers": POST + CHUNKS + WHOLE + b"0\r\nx-checksum: 1\r\ncontent-length: 5\r\n\r\n",
    # 7.4: TE says what a reply may be coded in
    "te": GET + HOST + b"te: trailers, deflate;q=0.5\r\nconnection: te\r\n\r\n",
    # 9.3: connections
    "keep-alive": GET + HOST + b"connection: keep-alive\r\n\r\n",
    "an option that is unknown": GET + HOST + b"connection: x-mine\r\nx-mine: 1\r\n\r\n",
    "proxy-connection": GET + HOST + b"proxy-connection: close\r\n\r\n",
    # RFC 9110, 7.8: an upgrade that is offered and not taken up
    "h2c with a length": POST + H2C + SIZED,
    "h2c with chunks": POST + H2C + CHUNKS + WHOLE + b"0\r\n\r\n",
    "h2c without a body": GET + HOST + H2C + b"\r\n",
    "upgrade alone": POST + b"upgrade: h2c\r\n" + SIZED,
    "websocket": GET
    + HOST
    + b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    + b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "websocket with a body": POST + b"connection: upgrade\r\nupgrade: websocket\r\n" + SIZED,
    "TLS": GET + HOST + b"connection: upgrade\r\nupgrade: TLS/1.0\r\n\r\n",
}

OTHERWISE: dict[str, tuple[bytes, list[int]]] = {
    # 3.2: forms of a target
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [204, 200]),
    "absolute form without a path": (
        b"OPTIONS http://localhost HTTP/1.1\r\n" + HOST + b"\r\n",
        [204, 200],
    ),
    "no such path": (b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n", [404, 200]),
    "another method": (b"TRACE /health/live HTTP/1.1\r\n" + HOST + b"\r\n", [405, 200]),
    # Refused before its body, which stays unread: the connection cannot go on.
    "a body that nobody reads": (b"PUT /health/live HTTP/1.1\r\n" + HOST + SIZED, [405]),
    "a body of GET": (GET + HOST + SIZED, [200]),
    # 9.3, 9.6: connections that close
    "close": (GET + HOST + b"connection: close\r\n\r\n", [200]),
    "close among others": (GET + HOST + b"connection: x, Close ,y\r\n\r\n", [200]),
    "close in a second field": (GET + HOST + b"connection: x\r\nconnection: close\r\n\r\n", [200]),
    # HTTP/1.0
    "1.0": (b"GET /health/live HTTP/1.0\r\n\r\n", [200]),
    "1.0 with a host": (b"GET /health/live HTTP/1.0\r\n" + HOST + b"\r\n", [200]),
    "1.0 that stays": (b"GET /health/live HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", [200, 200]),
    "1.0 that stays and closes": (
        b"GET /health/live HTTP/1.0\r\nconnection: keep-alive, close\r\n\r\n",
        [200],
    ),
    "1.0 with a body": (b"POST /v1/tokenize HTTP/1.0\r\n" + SIZED, [200]),
    "1.0 that expects": (b"POST /v1/tokenize HTTP/1.0\r\nexpect: 100-continue\r\n" + SIZED, [200]),
    # RFC 9110, 10.1.1
    "100-continue": (POST + b"expect: 100-continue\r\n" + SIZED, [100, 200, 200]),
    "100-Continue": (POST + b"Expect: 100-Continue\r\n" + SIZED, [100, 200, 200]),
    "100-continue twice": (
        POST + b"expect: 100-continue\r\nexpect: 100-continue\r\n" + SIZED,
        [100, 200, 200],
    ),
    "100-continue and more": (POST + b"expect: x=1, 100-continue\r\n" + SIZED, [100, 200, 200]),
    "an expectation that is unknown": (POST + b"expect: x=1\r\n" + SIZED, [200, 200]),
    "an empty expectation": (POST + b"expect:\r\n" + SIZED, [200, 200]),
    "an expectation without a body": (GET + HOST + b"expect: 100-continue\r\n\r\n", [200, 200]),
    "one that is refused": (
        b"POST /nowhere HTTP/1.1\r\n" + HOST + b"expect: 100-continue\r\n" + SIZED,
        [404],
    ),
    # 3: what is understood and not done
    "a method that is unknown": (b"BREW /health/live HTTP/1.1\r\n" + HOST + b"\r\n", [501]),
    "a method in small letters": (b"get /health/live HTTP/1.1\r\n" + HOST + b"\r\n", [501]),
    "a coding beside chunks": (
        POST + b"transfer-encoding: gzip, chunked\r\n\r\n" + WHOLE + b"0\r\n\r\n",
        [501],
    ),
    "a long target": (b"GET /%b HTTP/1.1\r\n" % (b"a" * 20_000) + HOST + b"\r\n", [414]),
    # bounds
    "a long head": (GET + HOST + b"x: %b\r\n\r\n" % (b"a" * 20_000), [431]),
    "many fields": (GET + HOST + b"a:\r\n" * 5000 + b"\r\n", [431]),
    "endless empty lines": (b"\r\n" * 10_000, [431]),
    "long trailers": (
        POST + CHUNKS + WHOLE + b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        [431],
    ),
    "a trailer without an end": (POST + CHUNKS + WHOLE + b"0\r\n" + b"a" * 20_000, [431]),
    "a long extension": (POST + CHUNKS + b"11;a=%b\r\n" % (b"b" * 20_000), [413]),
    "many zeros": (POST + CHUNKS + b"0" * 20_000, [413]),
    "long extensions of tiny chunks": (
        POST + CHUNKS + (b"1;%b\r\n \r\n" % (b"a" * 100)) * 300 + b"0\r\n\r\n",
        [413],
    ),
    "a chunk beyond all bounds": (POST + CHUNKS + b"f" * 5000 + b"\r\n", [413]),
    "a length beyond the bound": (POST + b"content-length: 1048577\r\n\r\n", [413]),
}

REFUSED = {
    # 2.2: messages
    "no HTTP": b"hello there\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "a bare carriage return": GET + b"host: local\rhost\r\n\r\n",
    "a bare line feed": GET + b"host: localhost\n\r\n",
    "bare line feeds": b"GET /health/live HTTP/1.1\nhost: localhost\n\n",
    "a line feed before it": b"\n" + GET + HOST + b"\r\n",
    "space before the first field": GET + b" host: localhost\r\n\r\n",
    # 2.3: versions
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    **{
        f"HTTP/{version}": b"GET /health/live HTTP/%b\r\n" % version.encode() + HOST + b"\r\n"
        for version in ("0.9", "1.2", "2.0", "3.0", "1.10", "1", "01.1", "1.1.1", "-1.1", "x.y")
    },
    "a simple request": b"GET /health/live\r\n",
    "http in small letters": b"GET /health/live http/1.1\r\n" + HOST + b"\r\n",
    "another protocol": b"GET /health/live RTSP/1.0\r\n" + HOST + b"\r\n",
    # 3: request line
    "two spaces": b"GET  /health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tab": b"GET\t/health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space at its end": b"GET /health/live HTTP/1.1 \r\n" + HOST + b"\r\n",
    "a space before it": b" " + GET + HOST + b"\r\n",
    "a space in the target": b"GET /health/ live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /health/live#a HTTP/1.1\r\n" + HOST + b"\r\n",
    "a byte beyond ASCII": b"GET /health/l\xc3\xa9ve HTTP/1.1\r\n" + HOST + b"\r\n",
    "a relative target": b"GET health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "an asterisk for GET": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority form": b"GET localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with a port beyond all": b"GET http://localhost:65536/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with an address that is none": b"GET http://[1:2]/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "another scheme": b"GET ftp://localhost/health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with a user": b"GET http://a@localhost/health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target without a host": b"GET http:///health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method that is none": b"G(T /health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    # 3.2: Host
    "no host": GET + b"\r\n",
    "no host beside an absolute form": b"GET http://localhost/health/live HTTP/1.1\r\n\r\n",
    "two hosts": GET + HOST + HOST + b"\r\n",
    "two hosts in 1.0": b"GET /health/live HTTP/1.0\r\n" + HOST + HOST + b"\r\n",
    **{
        f"the host {host.decode()[:30]}": GET + b"host: %b\r\n\r\n" % host
        for host in (
            *(b"a b", b"a, b", b"a/b", b"http://a", b"a@b", b"a:b", b"[::1", b"a\\b", b"a?b"),
            *(b"a:65536", b"a:0099999", b"a:%b" % (b"9" * 5000), b"a:-1", b"a:80:80", b"[1:2]"),
            *(b"[]", b"[::1]a", b"[1.2.3.4]", b"[:::]", b"[1:2:3:4:5:6:7:8:9]", b"[fe80::1%eth0]"),
        )
    },
    # 5: fields
    "no colon": GET + HOST + b"x\r\n\r\n",
    "no name": GET + HOST + b": x\r\n\r\n",
    "a space before the colon": GET + b"host : localhost\r\n\r\n",
    "a space in a name": GET + HOST + b"x y: z\r\n\r\n",
    "a bracket in a name": GET + HOST + b"x(y: z\r\n\r\n",
    "a name beyond ASCII": GET + HOST + b"x\xc3\xa9: z\r\n\r\n",
    "a folded field": GET + HOST + b"x: y\r\n z\r\n\r\n",
    "a field folded by a tab": GET + HOST + b"x: y\r\n\tz\r\n\r\n",
    "a NUL in a value": GET + HOST + b"x: y\x00z\r\n\r\n",
    "a DEL in a value": GET + HOST + b"x: y\x7fz\r\n\r\n",
    # 6.1, 6.3: codings and lengths
    **{
        f"the length {length.decode()}": POST + b"content-length: %b\r\n\r\n%b" % (length, BODY)
        for length in (b"", b"-1", b"+17", b"1x", b"0x11", b"17, 17", b"17 17", b"1_7", b"17;")
    },
    "a length beyond 64 bits": POST + b"content-length: 99999999999999999999999\r\n\r\n",
    "a length of thousands of digits": POST + b"content-length: %b17\r\n\r\n" % (b"0" * 9000),
    "two lengths": POST + b"content-length: 17\r\n" + SIZED,
    "length and chunks": POST + b"content-length: 5\r\n" + CHUNKS + b"0\r\n\r\n",
    "chunks and length": POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    **{
        f"the coding {coding.decode()!r}": POST
        + b"transfer-encoding: %b\r\n\r\n" % coding
        + WHOLE
        + b"0\r\n\r\n"
        for coding in (
            *(b"", b"identity", b"xchunked", b"chunked, gzip", b"chunked, chunked", b"chunked;q=1"),
            *(b"chunked,", b'"chunked"', b"chunked\x0b", b"chunke", b"chunked chunked"),
        )
    },
    "chunked in two fields": POST
    + b"transfer-encoding: chunked\r\n"
    + CHUNKS
    + WHOLE
    + b"0\r\n\r\n",
    "chunks in 1.0": b"POST /v1/tokenize HTTP/1.0\r\n" + CHUNKS + WHOLE + b"0\r\n\r\n",
    # 7.1: chunks
    **{
        f"the chunk size {size!r}": POST + CHUNKS + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
        for size in (
            *(b"", b"zz", b"-11", b"+11", b"0x11", b"11 ", b" 11", b"1 1", b"11\x00", b"11\n"),
            *(b"11;", b"11;=x", b"11;a=", b'11;a="', b"11;a\x01", b"11;a\rb", b"11,a"),
        )
    },
    "a chunk that is longer": POST + CHUNKS + b"10\r\n%b\r\n0\r\n\r\n" % BODY,
    "a chunk that is shorter": POST + CHUNKS + b"12\r\n%b\r\n0\r\n\r\n" % BODY,
    "a bare line feed behind a chunk": POST + CHUNKS + b"11\r\n%b\n0\r\n\r\n" % BODY,
    "a bare line feed behind a size": POST + CHUNKS + b"11\n%b\r\n0\r\n\r\n" % BODY,
    "a trailer without a colon": POST + CHUNKS + WHOLE + b"0\r\nx\r\n\r\n",
    "a folded trailer": POST + CHUNKS + WHOLE + b"0\r\nx: y\r\n z\r\n\r\n",
    "a NUL in a trailer": POST + CHUNKS + WHOLE + b"0\r\nx: \x00\r\n\r\n",
}


@pytest.fixture(scope="module")
def gateway(start_stand_in: StartStandIn) -> Service:
    return start_stand_in(BODY_SECONDS="2")


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_is_answered_and_the_next_one_too(gateway: Service, name: str) -> None:
    replies = ask(gateway.port, SOUND[name] + NEXT) if name != "HEAD" else []
    if name == "HEAD":
        received = talk(gateway.port, SOUND[name] + NEXT)
        assert received.count(b"HTTP/1.1 200 OK") == 2 and received.count(b"alive") == 1
        return
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].headers.get("connection") is None
    assert "upgrade" not in replies[0].headers


@pytest.mark.parametrize("name", OTHERWISE)
def test_the_right_answer_is_another_one(gateway: Service, name: str) -> None:
    sent, statuses = OTHERWISE[name]
    replies = ask(gateway.port, sent + NEXT)
    assert [reply.status for reply in replies] == statuses
    assert (replies[-1].headers.get("connection") == "close") is True
    if statuses[-1] >= 413:
        assert json.loads(replies[-1].body)["error"]["code"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_is_a_400_and_the_end(gateway: Service, name: str) -> None:
    replies = ask(gateway.port, REFUSED[name] + NEXT)
    assert [reply.status for reply in replies] == [400]
    assert replies[0].headers["connection"] == "close"
    assert json.loads(replies[0].body)["error"]["code"] == "invalid_http"

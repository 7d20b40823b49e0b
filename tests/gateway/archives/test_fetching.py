"""Archives from elsewhere: from where it is allowed, what its digest says, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.archives.archive_urls import Source, is_public
from gateway.archives.fetching import Fetcher
from gateway.errors import GatewayError
from gateway.settings import SettingsError, load
from tests.gateway.conftest import Service, StartService
from tests.patience import PATIENCE

ARCHIVE = b"an archive" * 1000
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()
HOST = "models.example"


class Server(BaseHTTPRequestHandler):
    """A host of archives, and of what goes wrong."""

    def do_GET(self) -> None:
        if self.path == "/moved.mar":
            self.send_response(302)
            self.send_header("Location", "https://elsewhere.example/a.mar")
            self.end_headers()
            return
        self.send_response(200)
        cut = self.path == "/cut.mar"
        self.send_header("Content-Length", str(len(ARCHIVE) + cut))
        self.end_headers()
        self.wfile.write(ARCHIVE)

    def log_message(self, *values: object) -> None: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A real TLS server on loopback, and who trusts it."""
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made.server_address[1], ssl.create_default_context(cafile=str(certificate))
    made.shutdown()
    made.server_close()


class Loopback(AbstractResolver):
    """Finds every host on this machine, as no service does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
        )
        return [found]

    async def close(self) -> None: ...


def fetch(
    server: tuple[int, ssl.SSLContext],
    store: Path,
    path: str,
    digest: str = DIGEST,
    *,
    host: str = HOST,
    resolver: AbstractResolver | None = None,
    most_bytes: int = 1 << 30,
    most_seconds: float = 30,
) -> str:
    port, context = server

    async def run() -> str:
        fetcher = Fetcher(store, most_bytes, most_seconds, resolver=resolver, context=context)
        return await fetcher.fetch(Source.parse(f"https://{host}:{port}{path}"), digest)

    return asyncio.run(run())


def test_an_archive_comes_once_and_whole(
    server: tuple[int, ssl.SSLContext], tmp_path: Path
) -> None:
    for _ in range(2):
        assert fetch(server, tmp_path, "/a.mar", resolver=Loopback()) == "a.mar"
        assert [path.name for path in tmp_path.iterdir()] == ["a.mar"]
        assert (tmp_path / "a.mar").read_bytes() == ARCHIVE


@pytest.mark.parametrize(
    ("path", "digest", "settings", "says"),
    [
        ("/a.mar", "0" * 64, {}, "digest"),
        ("/cut.mar", DIGEST, {}, "Cannot download from"),
        ("/moved.mar", DIGEST, {}, "redirects are not followed"),
        ("/a.mar", DIGEST, {"most_bytes": 5000}, "MAX_MODEL_BYTES"),
        ("/taken.mar", DIGEST, {}, "a different `taken.mar`"),
    ],
)
def test_what_is_not_what_was_asked_for_leaves_nothing(
    server: tuple[int, ssl.SSLContext],
    tmp_path: Path,
    path: str,
    digest: str,
    settings: dict[str, int],
    says: str,
) -> None:
    (tmp_path / "taken.mar").write_bytes(b"older")
    with pytest.raises(GatewayError, match=says):
        fetch(server, tmp_path, path, digest, resolver=Loopback(), **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.mar"]
    assert (tmp_path / "taken.mar").read_bytes() == b"older"


def test_a_name_that_leads_inside_is_not_connected_to(
    server: tuple[int, ssl.SSLContext], tmp_path: Path
) -> None:
    """The server is there and trusted; its address alone is why nothing is fetched."""
    with pytest.raises(GatewayError, match="Cannot download from"):
        fetch(server, tmp_path, "/a.mar", host="localhost")
    assert fetch(server, tmp_path, "/a.mar", host="localhost", resolver=Loopback()) == "a.mar"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
    ],
)
def test_only_addresses_of_the_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "allowed", "is_under"),
    [
        ("https://a.example/m/x.mar", "https://a.example/m/", True),
        ("https://A.example/m/x.mar", "https://a.example/m/", True),
        ("https://a.example:443/m/x.mar", "https://a.example/m/", True),
        ("https://a.example/x.mar", "https://a.example/x.mar", True),
        ("https://a.example/x.mar", "https://a.example", True),
        ("https://a.example/m/x.mar", "https://a.example/m", False),
        ("https://a.example/mm/x.mar", "https://a.example/m/", False),
        ("https://a.example:8443/m/x.mar", "https://a.example/m/", False),
        ("https://a.example.evil.example/m/x.mar", "https://a.example/m/", False),
        ("https://b.a.example/m/x.mar", "https://a.example/m/", False),
    ],
)
def test_urls_are_compared_part_by_part(url: str, allowed: str, is_under: bool) -> None:
    assert Source.parse(url).is_under(Source.parse(allowed)) is is_under


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/x.mar",
        "file:///x.mar",
        "https://user@a.example/x.mar",
        "https://a.example@b.example/x.mar",
        "https://a.example/../x.mar",
        "https://a.example/m/./x.mar",
        "https://a.example//x.mar",
        "https://a.example/%2e%2e/x.mar",
        "https://a.example/x.mar?a=b",
        "https://a.example/x.mar#a",
        "https://a.example\\@b.example/x.mar",
        "https://a.example:0x50/x.mar",
        "https://127.0.0.1/x.mar",
        "https://2130706433/x.mar",
        "https://0x7f.1/x.mar",
        "https://[::1]/x.mar",
        "https:///x.mar",
        "https://a.example /x.mar",
        "https://a\n.example/x.mar",
    ],
)
def test_what_is_no_plain_url_is_none(url: str) -> None:
    with pytest.raises(ValueError):
        Source.parse(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_MODEL_URLS", "http://a.example/"),
        ("MODEL_URLS", "https://a.example/x.mar"),
        ("MODEL_URLS", "https://a.example/x.mar#sha256=12"),
        ("MODEL_URLS", f"https://a.example/x.zip#sha256={'0' * 64}"),
    ],
)
def test_a_setting_that_can_not_be_used_is_named(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=name):
        load({name: value}, folder=tmp_path)


@pytest.fixture(scope="module")
def allowing(start_service: StartService) -> Service:
    return start_service(ALLOWED_MODEL_URLS="https://localhost:9/m/")


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"url": "https://localhost:9/m/x.mar"}, 400, "sha256"),
        ({"url": "https://localhost:9/m/x.mar", "sha256": "12"}, 400, "sha256"),
        ({"url": "https://localhost:9/m/x.mar", "sha256": DIGEST}, 502, None),
        ({"url": "https://localhost:9/m/x.zip", "sha256": DIGEST}, 400, "url"),
        ({"url": "https://localhost:9/n/x.mar", "sha256": DIGEST}, 400, "url"),
        ({"url": "http://localhost:9/m/x.mar", "sha256": DIGEST}, 400, "url"),
        ({"url": "gpt2.mar", "sha256": DIGEST, "model_name": "a"}, 400, "sha256"),
    ],
)
def test_registering_fetches_only_what_is_allowed_and_pinned(
    allowing: Service, asked: dict[str, str], status: int, param: str | None
) -> None:
    reply = allowing.manage("POST", "/models", json=asked)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["param"] == param


def test_a_start_that_can_not_fetch_ends_in_one_line(start_service: StartService) -> None:
    pinned = f"https://localhost:9/x.mar#sha256={DIGEST}"
    service = start_service(ready=False, MODEL_URLS=pinned, LOG_FORMAT="text")
    assert service.process.wait(PATIENCE) == 1
    service.stop()
    said = [line for line in service.log if line]
    assert said == ["gateway: MODEL_URLS: Cannot download from `localhost`"]

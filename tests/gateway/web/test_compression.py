"""The page's files travel in gzip to who reads it, and as they are to everybody else."""

from __future__ import annotations

import gzip
import urllib.request

import pytest

from gateway.web.static import PAGE
from tests.gateway.conftest import Service
from tests.patience import PATIENCE

SCRIPT = "page/script/main.js"
FONT = "page/font/literata-latin.woff2"


def ask(
    service: Service, path: str, coding: str | None, **more: str
) -> tuple[dict[str, str], bytes]:
    """Return the reply's headers and its bytes as they travelled."""
    headers = more | ({} if coding is None else {"accept-encoding": coding})
    request = urllib.request.Request(f"{service.url}/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        return {name.lower(): value for name, value in reply.headers.items()}, reply.read()


@pytest.mark.parametrize(
    "coding",
    ["gzip", "gzip, deflate, br, zstd", "GZIP;q=0.5", "br;q=1.0, *;q=0.1", "deflate , gzip"],
)
def test_who_reads_gzip_gets_it(service: Service, coding: str) -> None:
    headers, body = ask(service, SCRIPT, coding)
    assert headers["content-encoding"] == "gzip"
    assert int(headers["content-length"]) == len(body)
    assert gzip.decompress(body) == (PAGE.parent / SCRIPT).read_bytes()


@pytest.mark.parametrize(
    "coding", [None, "", "identity", "br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "gzip;q=x"]
)
def test_who_does_not_gets_the_file_itself(service: Service, coding: str | None) -> None:
    headers, body = ask(service, SCRIPT, coding)
    assert "content-encoding" not in headers
    assert body == (PAGE.parent / SCRIPT).read_bytes()


def test_caches_on_the_way_are_told_that_the_two_differ(service: Service) -> None:
    (packed, _), (plain, _) = ask(service, SCRIPT, "gzip"), ask(service, SCRIPT, None)
    assert packed["vary"] == plain["vary"] == "accept-encoding"
    assert packed["etag"] != plain["etag"]
    for known in (packed["etag"], plain["etag"]):
        again = service.get(f"/{SCRIPT}", headers={"if-none-match": known})
        assert again.status_code == 304 and not again.content


def test_what_is_compressed_already_is_sent_as_it_is(service: Service) -> None:
    headers, body = ask(service, FONT, "gzip")
    assert "content-encoding" not in headers and "vary" not in headers
    assert body == (PAGE.parent / FONT).read_bytes()


def test_the_files_are_listed_by_what_changes_with_their_content(service: Service) -> None:
    listed = service.get("/page/files.json").json()
    files = {path for path in PAGE.rglob("*") if path.is_file()}
    assert listed.keys() == {path.relative_to(PAGE).as_posix() for path in files}
    etag = service.get("/page/icon.svg").headers["etag"]
    assert listed["icon.svg"] in etag


@pytest.mark.parametrize(
    ("path", "is_document"),
    [
        ("/", True),
        ("/status", True),
        ("/docs", True),
        ("/page/icons.svg", True),
        ("/page/service-worker.js", True),
        ("/page/script/main.js", False),
        ("/page/style/theme.css", False),
    ],
)
def test_what_can_be_opened_as_a_document_has_the_policy(
    service: Service, path: str, is_document: bool
) -> None:
    headers = service.get(path).headers
    assert ("content-security-policy" in headers) == is_document
    # The service worker looks after what lies above it, and nothing else has that right.
    is_worker = path.endswith("service-worker.js")
    assert headers.get("service-worker-allowed") == ("../" if is_worker else None)

"""The files of the page and of the reference, with what a browser may do with them."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import NotFound
from gateway.paths import ROOT
from gateway.web.exchange import Exchange, Header

PAGE = ROOT / "gateway" / "page"
REFERENCE = ROOT / "gateway" / "reference"
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'"
)
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
# A smaller one costs a browser as many packets either way.
LEAST_COMPRESSED = 256
# What a browser may open as a document of its own, and what it is told of that. With a script or a
# style sheet nobody heeds it, and the page has many of these.
DOCUMENTS = ("text/html", "image/svg")
FOR_DOCUMENTS: tuple[Header, ...] = (
    (b"content-security-policy", PAGE_POLICY),
    (b"cross-origin-opener-policy", b"same-origin"),
)
# It may look after the whole page, though it lies in a folder of it; as an URL from there.
SERVICE_WORKER, ITS_SCOPE = "service-worker.js", b"../"
# Of what gzip saves less than a tenth of (fonts, pictures), the file itself is sent.
WORTH_IT = 0.9
# A coding and its weight in `Accept-Encoding`.
CODING = re.compile(r"\s*([a-z0-9*-]+)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?", re.I)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent; `packed` is the same in gzip, or None where that is not worth it."""

    content: bytes
    packed: bytes | None
    content_type: str
    digest: str
    changed: int


class StaticFiles:
    """Serves the files of one directory, compressed when the service starts.

    A file that changes is read again.
    """

    def __init__(self, directory: Path = PAGE) -> None:
        self._directory = directory
        self._files: dict[str, File] = {}
        for path in directory.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                self._read(path.relative_to(directory).as_posix())

    def digests(self) -> dict[str, str]:
        """Return the files' names, and what changes with their content."""
        return {name: self._read(name).digest for name in sorted(self._files)}

    async def serve(self, exchange: Exchange, name: str) -> None:
        """Answer with a file, or 304 where the browser has it.

        Raises:
            NotFound: There is no such file.
        """
        file = self._read(name)
        packed = file.packed if takes_gzip(exchange.headers) else None
        # What differs in its bytes has a name of its own (RFC 9110, 8.8.3.3).
        etag = f'"{file.digest}{"-gzip" if packed else ""}"'
        headers: list[Header] = [
            (b"etag", etag.encode()),
            (b"cache-control", b"no-cache"),
        ]
        if file.content_type.startswith(DOCUMENTS) or name == SERVICE_WORKER:
            headers += FOR_DOCUMENTS
        if name == SERVICE_WORKER:
            headers.append((b"service-worker-allowed", ITS_SCOPE))
        if file.packed is not None:
            headers.append((b"vary", b"accept-encoding"))
        if file.digest in exchange.headers.get("if-none-match", ""):
            await exchange.reply(304, b"", headers=headers)
            return
        if packed:
            headers.append((b"content-encoding", b"gzip"))
        await exchange.reply(200, packed or file.content, file.content_type, headers)

    def _read(self, name: str) -> File:
        parts = name.split("/")
        if any(part in ("", ".", "..") or part.startswith(".") for part in parts):
            raise NotFound("There is no such file")
        path = self._directory.joinpath(*parts)
        try:
            if not path.resolve().is_relative_to(self._directory.resolve()) or not path.is_file():
                raise NotFound("There is no such file")
            changed = path.stat().st_mtime_ns
            known = self._files.get(name)
            if known is not None and known.changed == changed:
                return known
            content = path.read_bytes()
        except (OSError, ValueError):
            raise NotFound("There is no such file") from None
        digest = hashlib.sha256(content).hexdigest()[:20]
        file = self._files[name] = File(
            content, _packed(content), _content_type(path), digest, changed
        )
        return file


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """Return whether who asks reads gzip: it is named (or `*` is), with a weight above 0."""
    weights = {}
    for part in headers.get("accept-encoding", "").split(","):
        if found := CODING.fullmatch(part):
            weights[found[1].lower()] = float(found[2] or 1)
    return weights.get("gzip", weights.get("*", 0)) > 0


def _packed(content: bytes) -> bytes | None:
    if len(content) < LEAST_COMPRESSED:
        return None
    # The time of compressing is left out: the same file has the same bytes everywhere.
    packed = gzip.compress(content, mtime=0)
    return packed if len(packed) < WORTH_IT * len(content) else None


def _content_type(path: Path) -> str:
    guess = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    content_type = guess or "application/octet-stream"
    return f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type

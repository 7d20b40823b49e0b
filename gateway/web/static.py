"""The files of the page and of the reference, with what a browser may do with them."""

from __future__ import annotations

import hashlib
import mimetypes
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


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent."""

    content: bytes
    content_type: str
    etag: str
    changed: int


class StaticFiles:
    """Serves the files of one directory; read again when they change."""

    def __init__(self, directory: Path = PAGE) -> None:
        self._directory = directory
        self._files: dict[str, File] = {}

    async def serve(self, exchange: Exchange, name: str) -> None:
        """Answer with a file, or 304 where the browser has it.

        Raises:
            NotFound: There is no such file.
        """
        file = self._read(name)
        headers: list[Header] = [
            (b"etag", file.etag.encode()),
            (b"cache-control", b"no-cache"),
            (b"content-security-policy", PAGE_POLICY),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]
        if file.etag in exchange.headers.get("if-none-match", ""):
            await exchange.reply(304, b"", headers=headers)
            return
        body = file.content
        await exchange.reply(200, body, file.content_type, headers)

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
        guess = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        content_type = guess or "application/octet-stream"
        if content_type.startswith("text/"):
            content_type += "; charset=utf-8"
        etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        file = self._files[name] = File(content, content_type, etag, changed)
        return file

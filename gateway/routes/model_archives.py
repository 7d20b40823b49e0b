"""The archive that a request to register a model means: in the model store, or at a URL."""

from __future__ import annotations

import re

from gateway.archives.archive_urls import DIGEST, Source
from gateway.archives.fetching import Fetcher
from gateway.errors import BadRequest, NotFound
from gateway.settings import Settings

ARCHIVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.mar")


class ModelArchives:
    """Finds archives in the model store, and fetches those of allowed URLs into it."""

    def __init__(self, settings: Settings) -> None:
        self._store = settings.model_store
        self._sources = settings.allowed_sources
        self._fetcher = Fetcher(
            settings.model_store, settings.max_model_bytes, settings.model_fetch_seconds
        )

    async def obtain(self, url: str, digest: str | None, notes: list[str]) -> str:
        """Return the name of an archive in the store; one of an allowed URL is fetched.

        Raises:
            GatewayError: There is none, or it is not allowed.
        """
        if self._sources and url.startswith("https://"):
            name = await self._fetcher.fetch(_allowed_source(url, self._sources), _digest(digest))
            notes.append("only this instance has it; MODEL_URLS loads it on every instance")
            return name
        if not ARCHIVE.fullmatch(url):
            fetched = ", or an https URL of ALLOWED_MODEL_URLS" if self._sources else ""
            raise BadRequest(
                f"`url` must be the name of an archive in the model store, like gpt2.mar{fetched}",
                param="url",
            )
        if digest is not None:
            raise BadRequest("`sha256` is only for a URL to download from", param="sha256")
        if not (self._store / url).exists():
            raise NotFound("The model store has no such archive", param="url")
        return url


def _allowed_source(url: str, allowed: tuple[Source, ...]) -> Source:
    """Return where to fetch from, if that is allowed."""
    try:
        source = Source.parse(url)
    except ValueError as fault:
        raise BadRequest(f"`url`: {fault}", param="url") from None
    if not any(source.is_under(each) for each in allowed):
        raise BadRequest("`url` is not in ALLOWED_MODEL_URLS", param="url")
    if not ARCHIVE.fullmatch(source.file_name):
        raise BadRequest("`url` must end in the name of an archive, like gpt2.mar", param="url")
    return source


def _digest(text: str | None) -> str:
    """Return the digest that an archive must have: it is code."""
    if text is None or not DIGEST.fullmatch(text):
        raise BadRequest(
            "`sha256` must be the archive's digest, 64 digits from 0 to f", param="sha256"
        )
    return text

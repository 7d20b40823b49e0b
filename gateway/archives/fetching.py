"""Fetches archives into the model store, from allowed URLs: bounded, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from gateway.archives.archive_urls import Source, is_public
from gateway.errors import BadGateway, BadRequest, Conflict

AT_ONCE = 1 << 18


class PublicResolver(AbstractResolver):
    """Finds a host's addresses, once; a host that has one inside is not connected to."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses, to which aiohttp then connects.

        Raises:
            OSError: One of them is not the internet's.
        """
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise OSError("its address is not public")
        return found

    async def close(self) -> None:
        """Give back what it holds."""
        await self._resolver.close()


class Fetcher:
    """Fetches archives into the model store."""

    def __init__(
        self,
        store: Path,
        most_bytes: int,
        most_seconds: float,
        *,
        resolver: AbstractResolver | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._most_seconds = most_seconds
        self._resolver = resolver
        self._context = context or ssl.create_default_context()

    async def fetch(self, source: Source, digest: str) -> str:
        """Have an archive in the store; return its name there.

        Raises:
            GatewayError: It cannot be had, is another, or its name is taken.
        """
        target = self._store / source.file_name
        if target.exists():
            if await asyncio.to_thread(_digest_of, target) != digest:
                raise Conflict(
                    f"The model store already has a different `{source.file_name}`",
                    code="name_taken",
                )
            return source.file_name
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".fetched-") as file:
            try:
                async with asyncio.timeout(self._most_seconds):
                    found = await self._download(source, file)
            except TimeoutError:
                raise BadGateway(
                    "Downloading the archive took longer than MODEL_FETCH_SECONDS"
                ) from None
            except (aiohttp.ClientError, OSError, ValueError):
                raise BadGateway(f"Cannot download from `{source.host}`") from None
            if found != digest:
                raise BadRequest("The archive's digest is not the one in `sha256`", param="sha256")
            try:
                os.link(file.name, target)  # unlike a move it replaces nothing
            except FileExistsError:
                raise Conflict(
                    f"`{source.file_name}` was added to the model store in the meantime",
                    code="name_taken",
                ) from None
        target.chmod(0o644)
        return source.file_name

    async def _download(self, source: Source, file: IO[bytes]) -> str:
        digest, size = hashlib.sha256(), 0
        connector = aiohttp.TCPConnector(
            resolver=self._resolver or PublicResolver(), ssl=self._context
        )
        async with (
            aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
            session.get(source.url, allow_redirects=False) as reply,
        ):
            if reply.status != 200:
                raise BadGateway(
                    f"`{source.host}` answered {reply.status}; redirects are not followed"
                )
            async for chunk in reply.content.iter_chunked(AT_ONCE):
                size += len(chunk)
                if size > self._most_bytes:
                    raise BadRequest("The archive is longer than MAX_MODEL_BYTES", param="url")
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
        return digest.hexdigest()


def fetch_pinned(fetcher: Fetcher, pinned: Iterable[tuple[Source, str]]) -> None:
    """Have archives in the store, each with its digest, before anything else is started.

    Raises:
        GatewayError: One of them cannot be had.
    """

    async def fetch() -> None:
        for source, digest in pinned:
            await fetcher.fetch(source, digest)

    asyncio.run(fetch())


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

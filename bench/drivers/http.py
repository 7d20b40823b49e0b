"""Clients of a server, in a process of their own: one streaming request a stream."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bench.drivers.loop import Timeline, serve
from bench.stream import Connection, Way


class HTTPDriver:
    """`streaming`: this project's events; else the tutorial handler's whole replies."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._url: str = options["url"]
        self._streaming: bool = options["streaming"]
        self._loop = asyncio.new_event_loop()
        self._session = self._loop.run_until_complete(_session())
        address = urlsplit(self._url)
        self._way = Way(address.port or 80, address.path)
        self._idle: list[Connection] = []

    def generate(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        """Send all requests at once over kept connections and read them to their ends."""
        return self._loop.run_until_complete(self._all(prompts, new_tokens))

    def negative_log_likelihood(self, window: list[int]) -> float:
        """Score is the engine's matter; see its driver."""
        raise NotImplementedError("perplexity is measured on the engine")

    async def _all(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        timeline = Timeline(len(prompts))
        write = self._stream if self._streaming else self._whole
        tasks = [
            write(timeline, stream, prompt, count)
            for stream, (prompt, count) in enumerate(zip(prompts, new_tokens, strict=True))
        ]
        await asyncio.gather(*tasks)
        return timeline.result()

    async def _stream(self, timeline: Timeline, stream: int, prompt: list[int], count: int) -> None:
        fields = {
            "prompt": prompt,
            "max_tokens": count,
            "temperature": 0,
            "ignore_eos": True,
        }
        connection = self._idle.pop() if self._idle else await Connection.open(self._way)
        times = [moment - timeline.began for moment in await connection.complete(fields)]
        self._idle.append(connection)
        # Text of several tokens may share an event; the missing ones came no later than the last.
        timeline.times[stream] = times + [times[-1]] * (count - len(times))

    async def _whole(self, timeline: Timeline, stream: int, prompt: list[int], count: int) -> None:
        body = {"input_ids": prompt, "max_new_tokens": count}
        async with self._session.post(self._url, json=body) as response:
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {(await response.text())[:200]}")
            await response.read()
        now = time.perf_counter() - timeline.began
        timeline.times[stream].extend([now] * count)


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=900)
    )


if __name__ == "__main__":
    serve(HTTPDriver)

"""Streams that come as strangers do: at random, at a set rate, whatever becomes of those before."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from soak.questions import BEGINNINGS, COMPLETIONS

TOKENS = 32
# A reply that has not ended by then is hung.
HUNG_SECONDS = 120.0
SERVED, REFUSED, BROKEN, HUNG = "served", "refused", "broken", "hung"


@dataclass(frozen=True)
class Reply:
    """One request. Times in seconds from the load's begin.

    Attributes:
        due: When it was to be sent.
        sent: When its connection was begun: a sender that is late is no wait for the service.
        first: When the first token came; None where none did.
        end: When it was over.
        why: Status or what broke, where it was not served.
    """

    due: float
    sent: float
    verdict: str
    first: float | None
    end: float
    why: str = ""


Clock = Callable[[], float]


async def at_rate(port: int, *, rate: float, seconds: float, seed: int) -> list[Reply]:
    """Ask at so many requests a second for so long (a Poisson process), and wait for all replies.

    Args:
        port: Of the service.
        rate: Requests a second.
        seconds: How long requests are sent.
        seed: Of their times and prompts.
    """
    rng = random.Random(seed)
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    tasks = []
    due = rng.expovariate(rate)
    while due < seconds:
        await asyncio.sleep(max(0.0, due - clock()))
        tasks.append(asyncio.create_task(_ask(port, _request(rng), due, clock)))
        due += rng.expovariate(rate)
    return list(await asyncio.gather(*tasks))


async def in_turn(port: int, *, clients: int, seconds: float, seed: int) -> list[Reply]:
    """So many clients that each ask for the next as soon as the last is there: full load.

    Each gets one reply at least, however slow the machine is.
    """
    rng = random.Random(seed)
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    async def client() -> list[Reply]:
        found: list[Reply] = []
        while not found or clock() < seconds:
            found.append(await _ask(port, _request(rng), clock(), clock))
        return found

    replies = await asyncio.gather(*(client() for _ in range(clients)))
    return [reply for own in replies for reply in own]


def _request(rng: random.Random) -> bytes:
    """A stream of TOKENS tokens whose prompt was not asked for before."""
    body = {
        "prompt": f"{rng.choice(BEGINNINGS)}, chapter {rng.getrandbits(40)}",
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "seed": rng.getrandbits(31),
        "stream": True,
    }
    content = json.dumps(body).encode()
    head = (
        f"POST {COMPLETIONS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content


async def _ask(port: int, request: bytes, due: float, clock: Clock) -> Reply:
    sent = clock()
    try:
        async with asyncio.timeout(HUNG_SECONDS):
            return await _read(port, request, due, sent, clock)
    except TimeoutError:
        return Reply(due, sent, HUNG, None, clock(), "nothing came any more")
    except OSError as error:
        return Reply(
            due, sent, BROKEN, None, clock(), f"the connection broke: {type(error).__name__}"
        )


async def _read(port: int, request: bytes, due: float, sent: float, clock: Clock) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        first = None
        body = b""
        while part := await reader.read(65536):
            if first is None:
                first = clock()
            body += part
    except asyncio.IncompleteReadError:
        return Reply(due, sent, BROKEN, None, clock(), "closed without a reply")
    finally:
        writer.close()
    if status == 200 and b"data: [DONE]\n\n" in body:
        return Reply(due, sent, SERVED, first, clock())
    if status in (429, 503) and b"\r\nretry-after:" in head.lower():
        return Reply(due, sent, REFUSED, None, clock(), str(status))
    return Reply(due, sent, BROKEN, None, clock(), f"{status}, cut or without a Retry-After")

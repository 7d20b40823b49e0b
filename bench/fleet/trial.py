"""The check: three real instances behind nginx, and the same three simulated.

One machine runs all of them, so the curve is measured there too: of one of three, with as many
streams in each of the others. Then requests come as a Poisson process, and what clients saw is
compared with what the simulation says of that curve and the same requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import simpy

from bench import archives, checkpoints
from bench.fleet.curve import Curve, of_rates
from bench.fleet.instance import Instance, Request
from bench.fleet.routing import ROUTINGS
from bench.fleet.simulation import quantile
from bench.nginx import find_nginx, nginx_command

ROOT = Path(__file__).resolve().parent.parent.parent
COUNT = 3
# To the last slot: what lies beyond the points would be taken for as quick as the last of them.
STREAMS = (1, 4, 8, 16, 32)
PROMPTS = (16, 256)
NEW = 48
LOADS = (0.3, 0.6)  # of what three full ones do
SECONDS = 100.0
READY_SECONDS = 120.0
TOKENS = 50_000  # ids of the vocabulary that prompts are drawn from
NGINX = """\
  upstream instances {{ least_conn; {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://instances;
      proxy_http_version 1.1;
      proxy_buffering off;
    }}
  }}
"""


@dataclass(frozen=True)
class Seen:
    """One request as its client saw it: seconds from the beginning of the run."""

    asked: float
    prompt: int
    new: int
    first: float
    total: float
    ok: bool


def run() -> dict[str, Any]:
    """Measure, ask, simulate; return what both say. Five minutes; nothing else may run."""
    with tempfile.TemporaryDirectory() as home, _fleet(Path(home)) as (urls, front):
        curve = _measure(urls)
        print(curve, flush=True)
        return {
            "curve": {"streams": curve.streams, "seconds": curve.seconds, "prefill": curve.prefill},
            "loads": [_compare(curve, front, share) for share in LOADS],
        }


def _compare(curve: Curve, front: str, share: float) -> dict[str, Any]:
    rate = share * COUNT * curve.requests_per_second(64, NEW)
    plan = _requests(random.Random(f"trial {share}"), rate)
    seen = _ask(front, plan)
    simulated = _simulate(curve, [(each.asked, each.prompt, each.new) for each in seen])
    real = [each for each in seen if each.ok]
    found: dict[str, Any] = {"load": share, "requests": len(seen), "answered": len(real)}
    for name, ours, theirs in (
        ("first_token", [each[0] for each in simulated], [each.first for each in real]),
        ("total", [each[1] for each in simulated], [each.total for each in real]),
    ):
        for quality, at in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            there, here = quantile(theirs, at), quantile(ours, at)
            found[f"{name}_{quality}"] = {
                "real": round(there, 4),
                "simulated": round(here, 4),
                "error_percent": round(100 * (here / there - 1), 1),
            }
    print(json.dumps(found), flush=True)
    return found


# The simulated one


def _simulate(curve: Curve, plan: Sequence[tuple[float, int, int]]) -> list[tuple[float, float]]:
    """Return first token and total of each request, in simulated time."""
    env = simpy.Environment()
    instances = [Instance(env, curve, number) for number in range(COUNT)]
    choose = ROUTINGS["least"](random.Random(1))
    found: list[tuple[float, float]] = []

    def ended(request: Request, _: str) -> None:
        found.append((request.first_token - request.arrived, env.now - request.arrived))

    def come(request: Request) -> None:
        choose(instances, request).take(request)

    for number, (asked, prompt, new) in enumerate(plan):
        request = Request(number, asked, prompt, new, on_end=ended)
        event = env.timeout(asked)
        event.callbacks.append(lambda _, request=request: come(request))  # type: ignore[misc]
    env.run()
    return found


# The real one


@contextlib.contextmanager
def _fleet(home: Path) -> Iterator[tuple[list[str], str]]:
    """Give three instances of GPT-2 small's shape, and nginx in front of them.

    The embedded model is so quick that the clients, on the same processors, would be measured.
    """
    store = archives.pack(checkpoints.random_gpt2(), "int8", print, keep=True)
    ports = _free_ports(COUNT + 1)
    environment = os.environ | {
        "MODEL_STORE": str(store), "BIND": "127.0.0.1", "THREADS_PER_REPLICA": "1",
        "STREAM_INTERVAL_MS": "0", "LOG_FORMAT": "json",
    }  # fmt: skip
    servers = " ".join(f"server 127.0.0.1:{port};" for port in ports[:COUNT])
    served = NGINX.format(servers=servers, port=ports[-1])
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with contextlib.ExitStack() as stack:
        for port in ports[:COUNT]:
            _started(stack, [sys.executable, "-m", "gateway"], environment | {"PORT": str(port)})
        _started(stack, nginx_command(find_nginx() or "nginx", home, served), environment)
        for url in urls:
            _wait_ready(url)
        yield urls[:COUNT], urls[-1]


def _started(stack: contextlib.ExitStack, command: list[str], environment: dict[str, str]) -> None:
    process = stack.enter_context(
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    )
    stack.callback(process.terminate)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_ready(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/health/ready", timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} was not ready in {READY_SECONDS:.0f} s")


def _text(draw: random.Random, tokens: int) -> list[int]:
    """Return a prompt of so many tokens, which no instance has seen the beginning of."""
    return [draw.randrange(TOKENS) for _ in range(tokens)]


def _stream(url: str, prompt: list[int], new: int, began: float) -> tuple[float, float, bool]:
    """Ask once; return seconds to the first token and to the end, and whether it was whole."""
    body = {"prompt": prompt, "max_tokens": new, "stream": True, "ignore_eos": True, "seed": 1}
    asked = time.perf_counter() - began
    first, tokens = 0.0, 0
    try:
        with requests.post(f"{url}/v1/completions", json=body, stream=True, timeout=120) as reply:
            if reply.status_code != 200:
                return 0.0, 0.0, False
            for line in reply.iter_lines():
                if line.startswith(b"data: {"):
                    first = first or time.perf_counter() - began
                    tokens += 1
    except requests.RequestException:
        return 0.0, 0.0, False
    return first - asked, time.perf_counter() - began - asked, tokens > 0


def _measure(urls: Sequence[str]) -> Curve:
    """Return the curve of one of three that all do the same."""
    rates, first = [], []
    for streams in STREAMS:
        found = []
        for number in range(3):
            seconds = _together(urls, streams, number)
            found.append(streams * (NEW - 1) / seconds)
        rates.append((streams, statistics.median(found)))
    for prompt in PROMPTS:
        found = [_first_together(urls, prompt, number) for number in range(9)]
        first.append((prompt, statistics.median(found)))
    return of_rates(rates, first)


def _together(urls: Sequence[str], streams: int, number: int) -> float:
    """Stream `streams` completions from each; return the median seconds behind first tokens."""
    draw = random.Random(f"{streams} {number}")
    texts = [(url, _text(draw, 4)) for url in urls for _ in range(streams)]
    with ThreadPoolExecutor(len(texts)) as pool:
        began = time.perf_counter()
        done = list(pool.map(lambda each: _stream(each[0], each[1], NEW, began), texts))
    return statistics.median(total - first for first, total, ok in done if ok)


def _first_together(urls: Sequence[str], prompt: int, number: int) -> float:
    """Have each read a prompt of such a length; return the median seconds to first tokens."""
    draw = random.Random(f"{prompt} {number}")
    texts = [(url, _text(draw, prompt)) for url in urls]
    with ThreadPoolExecutor(len(texts)) as pool:
        began = time.perf_counter()
        done = list(pool.map(lambda each: _stream(each[0], each[1], 2, began), texts))
    return statistics.median(first for first, _, ok in done if ok)


def _requests(draw: random.Random, rate: float) -> list[tuple[float, int]]:
    """When they come, and their prompts' tokens."""
    found, now = [], 0.0
    while (now := now + draw.expovariate(rate)) < SECONDS:
        found.append((now, max(4, min(200, round(draw.expovariate(1 / 64))))))
    return found


def _ask(front: str, plan: Sequence[tuple[float, int]]) -> list[Seen]:
    """Ask as planned, each in a thread of its own."""
    seen: list[Seen] = []
    lock = threading.Lock()
    began = time.perf_counter()

    def ask(at: float, prompt: int) -> None:
        text = _text(random.Random(f"{at} {prompt}"), prompt)
        asked = time.perf_counter() - began
        first, total, ok = _stream(front, text, NEW, began)
        with lock:
            seen.append(Seen(asked, prompt, NEW, first, total, ok))

    threads = []
    for at, prompt in plan:
        time.sleep(max(0.0, at - (time.perf_counter() - began)))
        thread = threading.Thread(target=ask, args=(at, prompt))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    return sorted(seen, key=lambda each: each.asked)

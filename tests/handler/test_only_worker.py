"""Workers of one model freeze each other in TorchServe: the second one ends, and says so."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from tests.handler.stock import started
from tests.patience import PATIENCE, wait_until

BODIES = [{"prompt": f"The fox {i}", "max_tokens": 6, "seed": i} for i in range(24)]


def texts(urls: dict[str, str]) -> list[str]:
    """What 24 requests at once are answered with."""

    def ask(body: dict[str, Any]) -> str:
        url = f"{urls['inference']}/predictions/gpt2"
        reply = requests.post(url, json=body, timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["text"])

    with ThreadPoolExecutor(len(BODIES)) as pool:
        return list(pool.map(ask, BODIES))


def scale(urls: dict[str, str], **counts: int) -> requests.Response:
    url = f"{urls['management']}/models/gpt2"
    return requests.put(
        url,
        params={"synchronous": "true"} | {name: str(count) for name, count in counts.items()},
        timeout=PATIENCE,
    )


def workers(urls: dict[str, str]) -> dict[int, str]:
    """The process of each, and what TorchServe calls its state."""
    reply = requests.get(f"{urls['management']}/models/gpt2", timeout=PATIENCE)
    return {each["pid"]: each["status"] for each in reply.json()[0]["workers"]}


def test_a_model_scaled_to_three_goes_on_with_one(model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, str(model_store), models="gpt2=gpt2.mar") as urls:
        wait_until(lambda: "READY" in workers(urls).values())
        expected = texts(urls)
        assert scale(urls, min_worker=3).status_code == 500
        assert texts(urls) == expected
        assert list(workers(urls).values()).count("READY") == 1
        log = Path(urls["log"]).read_text()
        assert "another worker of gpt2 1.0 is already serving" in log
        assert "min_worker=1&max_worker=1" in log
        assert scale(urls, min_worker=1, max_worker=1).ok
        assert texts(urls) == expected


def test_after_a_crash_there_is_a_place_for_the_next(model_store: Path, tmp_path: Path) -> None:
    with started(tmp_path, str(model_store), models="gpt2=gpt2.mar") as urls:
        wait_until(lambda: "READY" in workers(urls).values())
        expected = texts(urls)
        (crashed,) = [pid for pid, state in workers(urls).items() if state == "READY"]
        os.kill(crashed, signal.SIGKILL)
        wait_until(lambda: [s for pid, s in workers(urls).items() if pid != crashed] == ["READY"])
        assert texts(urls) == expected

"""Scaling through the management API, as a client sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.errors import NotFound
from gateway.replicas.replica import State
from gateway.replicas.replicas import Replicas
from gateway.settings import Settings
from gateway.torchserve.client import MANAGEMENT_SECONDS, Upstream, UpstreamError
from gateway.torchserve.process import TorchServe
from tests.gateway.conftest import Service, StartService, events, wait_until
from tests.patience import PATIENCE

PROMPTS = [f"Once upon a time there was a dog called number {number}" for number in range(16)]


@pytest.fixture(scope="module")
def scaled(start_service: StartService) -> Iterator[Service]:
    yield start_service(MAX_REPLICAS="3", THREADS_PER_REPLICA="1")


def stream_text(service: Service, prompt: str, seed: int, tokens: int) -> str:
    """The text of a stream; every event but the last two lines must be part of it."""
    options = {"prompt": prompt, "seed": seed, "max_tokens": tokens, "stream": True}
    with requests.post(
        service.url + "/v1/completions", json=options, stream=True, timeout=PATIENCE
    ) as reply:
        assert reply.status_code == 200, reply.text
        data = events(reply)
    assert data[-1] == "[DONE]"
    return "".join(event["choices"][0]["text"] for event in data[:-1])


def describe(service: Service) -> dict[str, Any]:
    described = service.manage("GET", "/models/gpt2")
    assert described.status_code == 200, described.text
    found: dict[str, Any] = described.json()[0]
    return found


def test_scaling_from_one_to_three_and_back_loses_and_doubles_nothing(scaled: Service) -> None:
    solo = [stream_text(scaled, prompt, 5, 150) for prompt in PROMPTS]
    plain = {"max_tokens": 10, "seed": 9}
    solo_plain = scaled.complete("The cat", **plain).json()["choices"][0]["text"]
    stop = threading.Event()

    def stream_for_ever(number: int) -> int:
        rounds = 0
        while not stop.is_set() or rounds == 0:
            assert stream_text(scaled, PROMPTS[number], 5, 150) == solo[number]
            rounds += 1
        return rounds

    with ThreadPoolExecutor(18) as pool:
        streams = [pool.submit(stream_for_ever, number) for number in range(16)]
        plains = [
            pool.submit(lambda: scaled.complete("The cat", **plain).json()["choices"][0]["text"])
            for _ in range(25)
        ]
        up = scaled.manage("PUT", "/models/gpt2?min_worker=3&synchronous=true")
        assert up.status_code == 200, up.text
        assert len(scaled.workers()) == 3
        assert len(describe(scaled)["workers"]) == 3
        plains += [
            pool.submit(lambda: scaled.complete("The cat", **plain).json()["choices"][0]["text"])
            for _ in range(25)
        ]
        wait_until(lambda: sum(w["live"] > 0 for w in describe(scaled)["workers"]) == 3)
        down = scaled.manage("PUT", "/models/gpt2?min_worker=1&synchronous=true")
        assert down.status_code == 200, down.text
        stop.set()
        assert all(future.result() >= 1 for future in streams)
        assert [future.result() for future in plains] == [solo_plain] * 50
    assert len(describe(scaled)["workers"]) == 1
    wait_until(lambda: len(scaled.workers()) == 1)
    everyone = {"gpt2", "gpt2--2", "gpt2--3"}
    wait_until(lambda: {record.get("replica") for record in scaled.records()} >= everyone)


def test_one_model_is_listed_however_many_replicas_there_are(scaled: Service) -> None:
    scaled.manage("PUT", "/models/gpt2?min_worker=2&synchronous=true")
    listed = scaled.manage("GET", "/models").json()
    assert [entry["modelName"] for entry in listed["models"]] == ["gpt2"]
    described = describe(scaled)
    assert described["minWorkers"] == 2
    assert [worker["status"] for worker in described["workers"]] == ["READY", "READY"]


def ready_processes(service: Service) -> set[int]:
    return {w["pid"] for w in describe(service)["workers"] if w["status"] == "READY"}


def test_a_replica_that_dies_comes_back_while_the_other_serves(scaled: Service) -> None:
    scaled.manage("PUT", "/models/gpt2?min_worker=2&synchronous=true")
    wait_until(lambda: len(ready_processes(scaled)) == 2)
    # One that was scaled down before may still be ending.
    wait_until(lambda: {each.pid for each in scaled.workers()} == ready_processes(scaled))
    before = ready_processes(scaled)
    killed, other = scaled.workers()
    killed.kill()
    assert scaled.complete(max_tokens=3).status_code == 200
    assert scaled.get("/health/ready").status_code == 200
    wait_until(lambda: len(ready_processes(scaled) - before) == 1)
    assert len(ready_processes(scaled)) == 2
    wait_until(lambda: {each.pid for each in scaled.workers()} == ready_processes(scaled))
    assert other.pid in ready_processes(scaled)


def test_an_archive_can_be_registered_used_and_removed(scaled: Service) -> None:
    made = scaled.manage("POST", "/models?url=gpt2.mar&model_name=second&initial_workers=1")
    assert made.status_code == 200, made.text
    reply = scaled.post("/v1/completions", json={"model": "second", "prompt": "A", "max_tokens": 2})
    assert reply.status_code == 200
    assert {card["id"] for card in scaled.get("/v1/models").json()["data"]} == {"gpt2", "second"}
    assert scaled.manage("PUT", "/models/second/1.0/set-default").status_code == 200
    assert scaled.manage("DELETE", "/models/second/1.0").status_code == 200
    assert scaled.post("/predictions/second", json={"prompt": "A"}).status_code == 404


def test_a_model_that_is_removed_finishes_what_it_is_writing(scaled: Service) -> None:
    made = scaled.manage("POST", "/models?url=gpt2.mar&model_name=leaving&initial_workers=1")
    assert made.status_code == 200, made.text
    options = {"model": "leaving", "prompt": "A", "seed": 3, "max_tokens": 450, "ignore_eos": True}
    whole = scaled.post("/v1/completions", json=options).json()["choices"][0]["text"]
    with ThreadPoolExecutor(1) as pool:
        with requests.post(
            scaled.url + "/v1/completions",
            json=options | {"stream": True},
            stream=True,
            timeout=PATIENCE,
        ) as reply:
            lines = reply.iter_lines(chunk_size=1)
            first = next(line for line in lines if line.startswith(b"data: "))
            removed = pool.submit(scaled.manage, "DELETE", "/models/leaving/1.0")
            wait_until(lambda: scaled.complete(model="leaving", max_tokens=1).status_code == 404)
            data = [first, *(line for line in lines if line.startswith(b"data: "))]
        assert removed.result().status_code == 200
    assert data[-1] == b"data: [DONE]"
    texts = [json.loads(line[6:])["choices"][0]["text"] for line in data[:-1]]
    assert "".join(texts) == whole


@pytest.mark.parametrize(
    ("method", "path", "status", "param"),
    [
        ("PUT", "/models/gpt2?min_worker=99", 400, "min_worker"),
        ("PUT", "/models/gpt2?min_worker=x", 400, "min_worker"),
        ("PUT", "/models/gpt2?min_worker=1&min_worker=2", 400, None),
        ("GET", "/models/other", 404, "model"),
        ("GET", "/models/gpt2--2", 404, None),
        ("GET", "/models/gpt2/1.0/x", 405, None),
        ("PUT", "/models/gpt2/1.0/x", 404, None),
        ("POST", "/models?url=http://example.com/x.mar", 400, "url"),
        ("POST", "/models?url=../x.mar", 400, "url"),
        ("POST", "/models?url=nothing.mar", 404, "url"),
        ("POST", "/models?url=gpt2.mar&model_name=a--b", 400, "model_name"),
        ("POST", "/models?url=gpt2.mar&handler=x", 400, "handler"),
        ("DELETE", "/models/gpt2", 409, None),
        ("POST", "/workflows?url=x.war", 404, None),
    ],
)
def test_only_listed_management_requests_are_let_through(
    scaled: Service, method: str, path: str, status: int, param: str | None
) -> None:
    reply = scaled.manage(method, path)
    assert reply.status_code == status, reply.text
    assert param is None or reply.json()["error"]["param"] == param


def test_a_prompt_goes_where_its_beginning_was_read_before(scaled: Service) -> None:
    scaled.manage("PUT", "/models/gpt2?min_worker=2&synchronous=true")
    wait_until(lambda: [w["status"] for w in describe(scaled)["workers"]] == ["READY", "READY"])

    def replica_of(prompt: str) -> str:
        reply = scaled.complete(prompt, max_tokens=1)
        wanted = reply.headers["x-request-id"]
        wait_until(lambda: any(r.get("request_id") == wanted for r in scaled.records()))
        return next(str(r["replica"]) for r in scaled.records() if r.get("request_id") == wanted)

    assert replica_of("A prompt that nobody sent before") == "gpt2"
    with requests.post(
        scaled.url + "/v1/completions",
        json={"prompt": "Busy", "max_tokens": 450, "ignore_eos": True, "stream": True},
        stream=True,
        timeout=PATIENCE,
    ) as reply:
        # Kept: a generator that is dropped closes its connection, and the replica is free again.
        lines = reply.iter_lines(chunk_size=1)
        next(lines)
        assert replica_of("The fox and the crow") == "gpt2--2"
    wait_until(lambda: not any(w["live"] for w in describe(scaled)["workers"]))
    assert replica_of("The fox and the crow") == "gpt2--2"
    assert replica_of("Another that nobody sent before") == "gpt2"


def test_a_request_goes_where_the_fewest_texts_are_written(scaled: Service) -> None:
    scaled.manage("PUT", "/models/gpt2?min_worker=2&synchronous=true")
    wait_until(lambda: len(ready_processes(scaled)) == 2)

    def live_texts() -> list[int]:
        return [worker["live"] for worker in describe(scaled)["workers"]]

    wait_until(lambda: live_texts() == [0, 0])
    workers = scaled.workers()
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)  # so that none ends before the last has come
    with ThreadPoolExecutor(4) as pool:
        replies: list[Future[requests.Response]] = []

        def send(n: int) -> list[int]:
            expected = sum(live_texts()) + n
            prompt = f"Number {len(replies)}"
            replies.append(pool.submit(scaled.complete, prompt, n=n, max_tokens=2))
            wait_until(lambda: sum(live_texts()) == expected)
            return live_texts()

        try:
            seen = [send(n) for n in (8, 1, 1, 1)]
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGCONT)
        assert seen == [[8, 0], [8, 1], [8, 2], [8, 3]]
        assert [reply.result().status_code for reply in replies] == [200] * 4


class Faulty(Upstream):
    """The real TorchServe, whose next answers to some methods get lost on the way."""

    def __init__(self, torchserve: TorchServe) -> None:
        made = torchserve.settings
        super().__init__(made.inference_url, made.management_url, made.metrics_url)
        self.loses: list[str] = []
        # How many workers it was told to have, one time after the other.
        self.told: list[str] = []

    async def manage(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        seconds: float = MANAGEMENT_SECONDS,
    ) -> Any:
        found = None
        if method == "PUT" and query:
            self.told.append(query["min_worker"])
        if method != "DELETE" or method not in self.loses:
            found = await super().manage(method, path, query, seconds=seconds)
        if method in self.loses:
            self.loses.remove(method)
            raise UpstreamError(503, "TorchServe does not answer")
        return found

    async def ask(self, replica: str, version: str, path: str) -> Any:
        found = await super().ask(replica, version, path)
        if path in self.loses:
            self.loses.remove(path)
            return None
        return found


class Late(Faulty):
    """Calls the worker of `second` ready later than it answers that it has loaded it.

    As on a busy machine, where the moments between last longer.
    """

    def __init__(self, torchserve: TorchServe) -> None:
        super().__init__(torchserve)
        self.not_yet = 3
        self.described_ready = asyncio.Event()

    async def manage(self, method: str, path: str, *args: Any, **options: Any) -> Any:
        found = await super().manage(method, path, *args, **options)
        if method == "GET" and path.startswith("/models/second"):
            [worker] = found[0]["workers"]
            if self.not_yet and worker["status"] == "READY":
                self.not_yet -= 1
                worker["status"] = "UNLOADING"
            elif worker["status"] == "READY":
                self.described_ready.set()
        return found


class LateCard(Late):
    """Answers that it has loaded `second` when another look is asking what that takes."""

    def __init__(self, torchserve: TorchServe) -> None:
        super().__init__(torchserve)
        self.not_yet = 0

    async def manage(self, method: str, path: str, *args: Any, **options: Any) -> Any:
        found = await super().manage(method, path, *args, **options)
        if method == "POST":
            await self.described_ready.wait()
            await asyncio.sleep(0.05)
        return found

    async def ask(self, replica: str, version: str, path: str) -> Any:
        if replica == "second":
            await asyncio.sleep(0.5)
        return await super().ask(replica, version, path)


def with_replicas(
    torchserve: TorchServe,
    scenario: Callable[[Replicas, Faulty], Awaitable[None]],
    *lost: str,
    kind: type[Faulty] = Faulty,
) -> None:
    """Run a scenario on what a TorchServe has loaded; leave it with one replica."""

    async def run() -> None:
        upstream = kind(torchserve)
        await upstream.open()
        replicas = Replicas(Settings(model_store=torchserve.settings.model_store), upstream)
        await replicas.monitor.adopt(1, "gpt2.mar")
        upstream.loses += lost
        await replicas.monitor.refresh()
        try:
            await scenario(replicas, upstream)
        finally:
            upstream.loses.clear()
            await replicas.scaling.scale("gpt2", "1.0", 1)
            await upstream.close()

    asyncio.run(run())


def test_a_change_that_failed_can_be_tried_again(torchserve: TorchServe) -> None:
    async def scenario(replicas: Replicas, upstream: Faulty) -> None:
        upstream.loses.append("POST")
        with pytest.raises(UpstreamError):
            await replicas.scaling.scale("gpt2", "1.0", 2)
        await replicas.scaling.scale("gpt2", "1.0", 3)
        upstream.loses.append("DELETE")
        with pytest.raises(UpstreamError):
            await replicas.scaling.scale("gpt2", "1.0", 1)
        await replicas.monitor.refresh()
        assert [replica.state for replica in replicas.registry.all()] == [State.READY] * 3
        await replicas.scaling.scale("gpt2", "1.0", 1)
        assert len(replicas.registry.all()) == 1

    with_replicas(torchserve, scenario)


@pytest.mark.parametrize("kind", [Late, LateCard])
@pytest.mark.parametrize("count", [0, 1])
def test_a_model_that_was_registered_or_scaled_up_takes_requests(
    torchserve: TorchServe, kind: type[Faulty], count: int
) -> None:
    async def scenario(replicas: Replicas, upstream: Faulty) -> None:
        keeping = asyncio.create_task(replicas.monitor.keep())
        await replicas.registration.register("gpt2.mar", "second", "1.0", count)
        try:
            if not count:
                await replicas.scaling.scale("second", "1.0", 1)
            assert replicas.registry.serving("second") == "1.0"
            assert replicas.registry.is_version_ready("second", "1.0")
            assert replicas.registry.card("second", "1.0")
        finally:
            await replicas.registration.unregister("second", "1.0")
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    with_replicas(torchserve, scenario, kind=kind)


def test_a_model_whose_worker_does_not_get_ready_is_not_left_behind(
    torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(replicas: Replicas, upstream: Faulty) -> None:
        assert isinstance(upstream, Late)
        upstream.not_yet = 1_000_000
        monkeypatch.setattr(replicas.scaling._loader, "start_seconds", 3.0)
        with pytest.raises(UpstreamError, match="not ready"):
            await replicas.registration.register("gpt2.mar", "second", "1.0")
        assert replicas.registry.models == ["gpt2"]
        found = await upstream.manage("GET", "/models")
        assert [entry["modelName"] for entry in found["models"]] == ["gpt2"]

    with_replicas(torchserve, scenario, kind=Late)


def test_scaling_a_model_that_leaves_meanwhile_is_told(torchserve: TorchServe) -> None:
    async def scenario(replicas: Replicas, upstream: Faulty) -> None:
        name, version = "leaver", "1.0"
        await replicas.registration.register("gpt2.mar", name, version)
        leaving = asyncio.create_task(replicas.registration.unregister(name, version))
        scaling = asyncio.create_task(replicas.scaling.scale(name, version, 2))
        again = asyncio.create_task(replicas.registration.unregister(name, version))
        await leaving
        for late in (scaling, again):
            with pytest.raises(NotFound):
                await late

    with_replicas(torchserve, scenario)


def test_the_worker_after_one_that_ended_is_not_left_to_torchserves_pause(
    torchserve: TorchServe,
) -> None:
    async def scenario(replicas: Replicas, upstream: Faulty) -> None:
        [replica] = replicas.registry.all()
        killed = replica.worker
        replicas.retired.look_in(folder_of(torchserve))
        keeping = asyncio.create_task(replicas.monitor.keep())
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while replica.state is not State.READY or replica.worker == killed:
                await asyncio.sleep(0.02)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert upstream.told == ["0", "1"]

    with_replicas(torchserve, scenario)


def folder_of(torchserve: TorchServe) -> Path:
    """Where it runs."""
    assert torchserve.process is not None
    return Path(f"/proc/{torchserve.process.pid}/cwd").readlink()


def test_what_a_model_says_of_itself_is_asked_again_when_it_got_lost(
    torchserve: TorchServe,
) -> None:
    async def scenario(replicas: Replicas, upstream: Faulty) -> None:
        assert replicas.registry.is_ready() and replicas.registry.card("gpt2", "1.0") is None
        await asyncio.sleep(1.1)
        await replicas.monitor.refresh()
        assert (replicas.registry.card("gpt2", "1.0") or {})["id"] == "gpt2"

    with_replicas(torchserve, scenario, "v1/models")

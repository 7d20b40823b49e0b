"""One instance serves several archives, each loaded when somebody asks for its model."""

from __future__ import annotations

import concurrent.futures
import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from handler.engine.shared_bound import LINE
from tests.gateway.conftest import Service, StartService, change_archive, events, wait_until
from tests.gateway.replicas.tales import pack_swapped
from tests.patience import PATIENCE

NAMES = ("gpt2", "east", "west")
ASKED = {"prompt": "Once upon a time", "max_tokens": 12, "temperature": 0.9, "seed": 7}
MIB = 1 << 20


@pytest.fixture(scope="module")
def store(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three archives of models that write different texts."""
    store = tmp_path_factory.mktemp("many") / "store"
    store.mkdir()
    shutil.copy(model_store / "gpt2.mar", store)
    pack_swapped(store, "east", 1, 4)
    pack_swapped(store, "west", 2, 3)
    return store


@pytest.fixture(scope="module")
def texts(start_service: StartService, store: Path) -> dict[str, str]:
    """What each model writes where it is loaded for good; and what a worker takes."""
    service = start_service(store=store, MODEL_ARCHIVES="*")
    found = {name: text(ask(service, name)) for name in NAMES}
    assert len(set(found.values())) == 3
    # Without a bound nothing is put away.
    assert service.metric("gpt2_models_loaded") == 3
    assert service.metric("gpt2_model_loads_total") == 2
    assert service.metric("gpt2_model_evictions_total") == 0
    found["bytes"] = str(int(service.metric("gpt2_models_memory_bytes")) // 3)
    service.stop()
    return found


@pytest.fixture(scope="module")
def two(start_service: StartService, store: Path, texts: dict[str, str]) -> Service:
    """A service whose bound holds two of three."""
    most = str(int(2.6 * int(texts["bytes"])))
    return start_service(store=store, MODEL_ARCHIVES="east.mar,west.mar", MODELS_MEMORY_BYTES=most)


def ask(service: Service, model: str, **options: Any) -> requests.Response:
    return service.post("/v1/completions", json={**ASKED, "model": model, **options})


def text(reply: requests.Response) -> str:
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["text"])


@contextlib.contextmanager
def watching(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Look again and again, in a thread of its own, while something else goes on."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def states(service: Service) -> dict[str, str]:
    return {card["name"]: card["state"] for card in service.get("/v1/models").json()["data"]}


def test_all_are_listed_before_any_is_asked(
    start_service: StartService, store: Path, texts: dict[str, str]
) -> None:
    service = start_service(store=store, MODEL_ARCHIVES="*")
    assert states(service) == {"gpt2": "loaded", "east": "put_away", "west": "put_away"}
    cards = service.get("/v1/models").json()["data"]
    assert [card["id"] for card in cards] == ["gpt2", "east", "west"]
    schemas = service.get("/openapi.json").json()["components"]["schemas"]
    for each, schema in zip(cards, ("ModelCard", "ListedModel", "ListedModel"), strict=True):
        assert set(schemas[schema]["required"]) <= set(each)
    card = service.get("/v1/models/east").json()
    assert card["ready"] and card["id"] == "east" and card["object"] == "model"
    assert card["created"] > 0 and card["context_length"] == 512
    assert service.get("/v2/models/east/ready").status_code == 200
    described = service.manage("GET", "/models/east").json()[0]
    assert described["workers"] == [] and described["minWorkers"] == 0
    assert len(service.workers()) == 1
    # A question about tokens loads it, too, by the path as by the field.
    reply = service.post("/predictions/east/v1/tokenize", json={"text": "The king"})
    assert reply.status_code == 200
    assert states(service)["east"] == "loaded"
    service.stop()


def test_all_three_answer_at_once_where_two_have_room(two: Service, texts: dict[str, str]) -> None:
    most = 0.0

    def run(number: int) -> None:
        name = NAMES[number % 3]
        assert text(ask(two, name)) == texts[name]

    def look() -> None:
        nonlocal most
        most = max(most, len(two.workers()))

    with watching(look, 0.1), concurrent.futures.ThreadPoolExecutor(9) as pool:
        list(pool.map(run, range(36)))
    assert most == 2
    assert two.metric("gpt2_models_loaded") == 2
    assert two.metric("gpt2_model_evictions_total") >= 1
    loads = two.metric("gpt2_model_loads_total")
    assert loads == two.metric("gpt2_model_evictions_total") + 1
    assert sorted(states(two).values()) == ["loaded", "loaded", "put_away"]


def test_a_stream_is_never_cut(two: Service, texts: dict[str, str]) -> None:
    alone = text(ask(two, "east", max_tokens=400, ignore_eos=True))
    before = two.metric("gpt2_model_evictions_total")
    body = {**ASKED, "model": "east", "max_tokens": 400, "ignore_eos": True, "stream": True}
    with two.post("/v1/completions", json=body, stream=True) as stream:
        lines = stream.iter_lines()
        first = next(lines)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, two, "west")
            stream._content = first + b"\n" + b"\n".join(lines)
            assert text(waiting.result()) == texts["west"]
        parts = events(stream)
    assert parts[-1] == "[DONE]"
    assert "".join(part["choices"][0]["text"] for part in parts[:-1]) == alone
    assert two.metric("gpt2_model_evictions_total") == before + 1


def test_who_is_busy_gives_way_in_time(two: Service, texts: dict[str, str]) -> None:
    """Requests to one model that never stop do not keep another from being loaded."""
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            assert text(ask(two, "east")) == texts["east"]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(keep_asking) for _ in range(3)]
        time.sleep(1)
        try:
            assert text(ask(two, "west")) == texts["west"]
        finally:
            stop.set()
        for each in busy:
            each.result()


def test_what_an_operator_has_set_stays(two: Service, texts: dict[str, str]) -> None:
    def scale(name: str, query: str) -> None:
        reply = two.manage("PUT", f"/models/{name}?synchronous=true&{query}")
        assert reply.status_code == 200, reply.text

    scale("east", "min_worker=0")
    refused = ask(two, "east")
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "no_workers"
    assert states(two)["east"] == "no_workers"
    scale("west", "min_worker=1")
    scale("east", "min_worker=0&max_worker=1")
    full = ask(two, "east")
    assert full.status_code == 503, full.text
    assert full.json()["error"]["code"] == "no_room"
    assert "MODELS_MEMORY_BYTES" in full.json()["error"]["message"]
    assert text(ask(two, "west")) == texts["west"]
    scale("west", "min_worker=0&max_worker=1")
    assert text(ask(two, "east")) == texts["east"]
    assert states(two) == {"gpt2": "loaded", "east": "loaded", "west": "put_away"}
    again = two.manage("POST", "/models?url=west.mar")
    assert again.status_code == 409 and "MODEL_ARCHIVES" in again.text


def test_the_end_of_java_leaves_things_as_they_were(two: Service, texts: dict[str, str]) -> None:
    assert text(ask(two, "east")) == texts["east"]
    java = next(each for each in two.descendants() if each.name() == "java")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        long = pool.submit(ask, two, "east", max_tokens=300, ignore_eos=True)
        time.sleep(0.3)
        java.send_signal(signal.SIGKILL)
        asked = pool.submit(ask, two, "west")
        assert text(long.result()).startswith(texts["east"])
        assert text(asked.result()) == texts["west"]
    wait_until(lambda: sorted(states(two).values()) == ["loaded", "loaded", "put_away"])
    for name in NAMES:
        assert text(ask(two, name)) == texts[name]


def test_who_waits_for_too_long_is_told_so(
    start_service: StartService, store: Path, texts: dict[str, str]
) -> None:
    most = str(int(2.6 * int(texts["bytes"])))
    service = start_service(
        store=store, MODEL_ARCHIVES="*", MODELS_MEMORY_BYTES=most, MODEL_LOAD_SECONDS="1"
    )
    wait_until(lambda: ask(service, "east").status_code == 200)
    body = {**ASKED, "model": "east", "max_tokens": 490, "ignore_eos": True, "n": 16}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        busy = pool.submit(service.post, "/v1/completions", json=body)
        time.sleep(0.2)
        late = ask(service, "west")
        assert late.status_code == 503, late.text
        assert late.json()["error"]["code"] == "loading"
        assert "memory" in late.json()["error"]["message"]
        assert int(late.headers["retry-after"]) > 0
        assert len(busy.result().json()["choices"]) == 16
    wait_until(lambda: ask(service, "west").status_code == 200)
    service.stop()


def test_a_drain_sends_away_who_waits(
    start_service: StartService, store: Path, texts: dict[str, str]
) -> None:
    service = start_service(store=store, MODEL_ARCHIVES="*")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, service, "east")
        wait_until(lambda: states(service)["east"] == "loading")
        service.process.send_signal(signal.SIGTERM)
        reply = waiting.result()
    assert reply.status_code == 503 and "draining" in reply.text, reply.text
    assert int(reply.headers["retry-after"]) > 0
    assert service.stop() == 0


def test_what_does_not_load_is_told_and_ends_nothing(
    start_service: StartService, store: Path, texts: dict[str, str]
) -> None:
    before, after = "class GPT2Handler", "raise SystemExit  # class GPT2Handler"
    bad = store / "bad.mar"
    change_archive(store / "east.mar", bad, "MAR-INF/MANIFEST.json", '"east"', '"bad"')
    change_archive(bad, store / "worse.mar", "gpt2_handler.py", before, after)
    bad.unlink()
    try:
        service = start_service(store=store, MODEL_ARCHIVES="worse.mar,west.mar")
        for _ in range(2):
            reply = ask(service, "bad")
            assert reply.status_code == 503, reply.text
            assert reply.json()["error"]["code"] == "load_failed"
            assert int(reply.headers["retry-after"]) > 0
        assert states(service)["bad"] == "put_away"
        assert text(ask(service, "west")) == texts["west"]
        assert text(ask(service, "gpt2")) == texts["gpt2"]
        service.stop()
    finally:
        (store / "worse.mar").unlink()


def test_all_caches_have_one_bound(
    start_service: StartService, store: Path, texts: dict[str, str]
) -> None:
    most = 6 * MIB  # of which a text of the whole context takes a third
    service = start_service(store=store, MODEL_ARCHIVES="*", CACHES_MEMORY_BYTES=str(most))
    for name in NAMES:
        assert text(ask(service, name)) == texts[name]
    file = Path(service.workers()[0].environ()["GPT2_CACHES"])
    seen: list[int] = []

    def look() -> None:
        lines = LINE.iter_unpack(file.read_bytes())
        seen.append(sum(taken for process, taken, _ in lines if process))

    def run(number: int) -> None:
        name = NAMES[number % 3]
        reply = ask(service, name, max_tokens=490, ignore_eos=True)
        assert text(reply).startswith(texts[name])
        assert reply.json()["usage"]["completion_tokens"] == 490

    with watching(look, 0.01), concurrent.futures.ThreadPoolExecutor(9) as pool:
        list(pool.map(run, range(9)))
    assert 4 * MIB < max(seen) <= most
    service.stop()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("none.mar", "the model store has no none.mar"),
        ("../east.mar", "the model store has no ../east.mar"),
        ("broken.mar", "`broken.mar` is not"),
        ("east.mar,twin.mar", "and so is `east.mar`"),
    ],
)
def test_what_cannot_be_served_ends_the_start(
    start_service: StartService, store: Path, names: str, words: str
) -> None:
    (store / "broken.mar").write_bytes(b"no zip")
    shutil.copy(store / "east.mar", store / "twin.mar")
    try:
        service = start_service(ready=False, store=store, MODEL_ARCHIVES=names)
        assert service.process.wait(PATIENCE) == 1
        wait_until(lambda: any(words in line for line in service.log))
    finally:
        (store / "broken.mar").unlink()
        (store / "twin.mar").unlink()

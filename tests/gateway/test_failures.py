"""What a client sees when something behind the gateway fails."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import threading
import zipfile
from pathlib import Path

import psutil
import pytest
import requests

from tests.gateway.conftest import Service, StartService, events, is_alive, wait_until
from tests.patience import PATIENCE

LONG = {"max_tokens": 900, "ignore_eos": True, "seed": 1}
CLIENTS_THAT_LEFT = r'gpt2_request_failure_total\{reason="client_gone"\}'


@pytest.fixture(scope="module")
def fragile(start_service: StartService) -> Service:
    # A busy machine takes longer than the default to start TorchServe anew.
    return start_service(STALL_SECONDS="3", MAX_RESTARTS="50", RETRY_SECONDS="45")


@pytest.fixture(autouse=True)
def ready_again(fragile: Service) -> None:
    wait_until(lambda: fragile.get("/health/ready").status_code == 200)


def test_who_comes_while_a_worker_is_coming_back_waits_for_it(fragile: Service) -> None:
    fragile.workers()[0].kill()
    wait_until(lambda: fragile.get("/health/ready").status_code == 503)
    assert fragile.complete(max_tokens=3).status_code == 200


def test_a_request_that_had_not_begun_is_sent_again(fragile: Service) -> None:
    failures = fragile.metric("gpt2_request_failure_total")
    taken = fragile.metric("ts_inference_requests_total")
    worker = fragile.workers()[0]
    worker.send_signal(signal.SIGSTOP)  # it takes nothing more: what comes now does not begin
    replies: list[requests.Response] = []
    asking = threading.Thread(target=lambda: replies.append(fragile.complete(max_tokens=3)))
    asking.start()
    wait_until(lambda: fragile.metric("ts_inference_requests_total") > taken)
    worker.kill()
    asking.join(PATIENCE)
    assert replies[0].status_code == 200, replies[0].text
    wait_until(lambda: any(record.get("retried") for record in fragile.records()))
    served = [record for record in fragile.records() if record.get("retried")][-1]
    assert served["httpRequest"]["status"] == 200 and "aborted" not in served
    assert fragile.metric("gpt2_request_failure_total") == failures


def test_a_stream_whose_worker_stands_still_goes_on_at_the_next(fragile: Service) -> None:
    with requests.post(
        fragile.url + "/v1/completions",
        json={"prompt": "A", "stream": True, "n": 8} | LONG,
        stream=True,
        timeout=PATIENCE,
    ) as reply:
        lines = reply.iter_lines()
        next(lines)
        worker = fragile.workers()[0]
        worker.send_signal(signal.SIGSTOP)
        try:
            rest = [line for line in lines if line.startswith(b"data: ")]
            held = fragile.complete(max_tokens=3)
        finally:
            with contextlib.suppress(psutil.Error):  # it was ended
                worker.send_signal(signal.SIGCONT)
    assert rest[-1] == b"data: [DONE]" and not any(b'"error"' in line for line in rest)
    assert held.status_code == 200, held.text


def num_ended_early(service: Service) -> float:
    """The handler's own count of requests that nobody waited for any more; it looks when called."""
    ended = r'FinishedRequests\{[^}]*EndReason="%s"[^}]*\}'
    before = service.metric(ended % "length")
    assert service.complete(max_tokens=1, ignore_eos=True).status_code == 200
    wait_until(lambda: service.metric(ended % "length") > before)
    return service.metric(ended % "abort")


def test_a_client_that_leaves_a_stream_ends_its_texts_at_once(fragile: Service) -> None:
    ended_early, left = num_ended_early(fragile), fragile.metric(CLIENTS_THAT_LEFT)
    reply = requests.post(
        fragile.url + "/v1/completions",
        json={"prompt": "A", "stream": True, "n": 8} | LONG,
        stream=True,
        timeout=PATIENCE,
    )
    lines = reply.iter_lines()
    next(lines)
    assert fragile.metric("vllm:num_requests_running") == 8
    reply.close()
    wait_until(lambda: fragile.metric("vllm:num_requests_running") == 0)
    assert fragile.metric(CLIENTS_THAT_LEFT) == left + 1
    wait_until(lambda: num_ended_early(fragile) == ended_early + 1)


def test_a_client_that_leaves_before_a_whole_reply_ends_its_texts_at_once(
    fragile: Service,
) -> None:
    ended_early, left = num_ended_early(fragile), fragile.metric(CLIENTS_THAT_LEFT)
    taken = fragile.metric("ts_inference_requests_total")
    # 32 texts: some seconds' work.
    body = json.dumps({"prompt": ["A", "The", "One", "It"], "n": 8} | LONG | {"max_tokens": 500})
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", fragile.port), timeout=PATIENCE) as client:
        client.sendall((head + body).encode())
        wait_until(lambda: fragile.metric("ts_inference_requests_total") == taken + 1)
        # Answered with the next step: the texts that came before have begun by then.
        assert fragile.post("/v1/tokenize", json={"text": "A"}).status_code == 200
        assert fragile.metric("vllm:num_requests_running") == 32
    wait_until(lambda: fragile.metric("vllm:num_requests_running") == 0)
    assert fragile.metric(CLIENTS_THAT_LEFT) == left + 1
    wait_until(lambda: num_ended_early(fragile) == ended_early + 1)


def test_torchserve_is_started_again_when_it_dies(fragile: Service) -> None:
    java = next(p for p in fragile.descendants() if "java" in p.name())
    workers = fragile.workers()
    java.kill()
    wait_until(lambda: fragile.get("/health/ready").status_code == 503)
    wait_until(lambda: fragile.get("/health/ready").status_code == 200)
    with fragile.complete(max_tokens=4, stream=True) as reply:
        assert events(reply)[-1] == "[DONE]"
    # One that nobody has waited for yet is dead, too.
    wait_until(lambda: not any(is_alive(process) for process in (java, *workers)))


def test_who_comes_as_torchserve_dies_is_served_by_the_next_one(fragile: Service) -> None:
    next(p for p in fragile.descendants() if "java" in p.name()).kill()
    reply = fragile.complete(max_tokens=3)
    assert reply.status_code == 200, reply.text


def test_a_torchserve_that_hangs_is_started_again(fragile: Service) -> None:
    java = next(p for p in fragile.descendants() if "java" in p.name())
    java.send_signal(signal.SIGSTOP)  # as a deadlock does: alive, ports open, no answer
    try:
        wait_until(lambda: not java.is_running())
        wait_until(lambda: fragile.get("/health/ready").status_code == 200)
    finally:
        with contextlib.suppress(psutil.Error):
            java.send_signal(signal.SIGCONT)
    assert fragile.complete(max_tokens=3).status_code == 200
    assert any("does not answer" in line for line in fragile.log)


def test_a_model_that_can_not_be_loaded_again_leaves_the_others_alone(
    start_service: StartService, model_store: Path, tmp_path: Path
) -> None:
    for name in ("gpt2.mar", "extra.mar"):
        shutil.copy(model_store / "gpt2.mar", tmp_path / name)
    service = start_service(store=tmp_path)
    made = service.manage("POST", "/models?url=extra.mar&model_name=extra&initial_workers=1")
    assert made.status_code == 200, made.text
    assert service.complete(model="extra", max_tokens=2).status_code == 200
    (tmp_path / "extra.mar").unlink()
    next(p for p in service.descendants() if "java" in p.name()).kill()
    wait_until(lambda: service.get("/health/ready").status_code == 503)
    wait_until(lambda: service.get("/health/ready").status_code == 200)
    assert service.complete(max_tokens=3).status_code == 200
    assert service.complete(model="extra", max_tokens=2).status_code == 503
    assert service.manage("DELETE", "/models/extra").status_code == 200
    assert service.metric("gpt2_torchserve_restarts_total") == 1


def test_replicas_and_models_are_there_again_after_torchserve_died(
    start_service: StartService,
) -> None:
    service = start_service(REPLICAS="2", MAX_REPLICAS="2", THREADS_PER_REPLICA="1")
    made = service.manage("POST", "/models?url=gpt2.mar&model_name=extra&initial_workers=1")
    assert made.status_code == 200, made.text

    def all_ready() -> bool:
        described = [service.manage("GET", f"/models/{name}") for name in ("gpt2", "extra")]
        if any(reply.status_code != 200 for reply in described):
            return False
        workers = [worker for reply in described for worker in reply.json()[0]["workers"]]
        return [worker["status"] for worker in workers] == ["READY"] * 3

    wait_until(all_ready)  # two at the start, as REPLICAS says
    assert len(service.workers()) == 3
    next(p for p in service.descendants() if "java" in p.name()).kill()
    wait_until(lambda: service.get("/health/ready").status_code == 503)
    wait_until(lambda: len(service.workers()) == 3 and all_ready())
    assert service.complete(model="extra", max_tokens=2).status_code == 200


def test_the_version_that_serves_is_the_same_after_torchserve_died(
    start_service: StartService, model_store: Path, tmp_path: Path
) -> None:
    shutil.copy(model_store / "gpt2.mar", tmp_path / "gpt2.mar")
    with (
        zipfile.ZipFile(tmp_path / "gpt2.mar") as first,
        zipfile.ZipFile(tmp_path / "second.mar", "w") as second,
    ):
        for entry in first.infolist():
            data = first.read(entry)
            if entry.filename == "MAR-INF/MANIFEST.json":
                data = data.replace(b'"modelVersion": "1.0"', b'"modelVersion": "2.0"')
            second.writestr(entry, data)
    service = start_service(store=tmp_path)
    made = service.manage("POST", "/models?url=second.mar")
    assert made.status_code == 200 and "2.0" in made.text, made.text
    assert service.manage("PUT", "/models/gpt2/2.0/set-default").status_code == 200
    assert service.complete(max_tokens=2).status_code == 200
    next(p for p in service.descendants() if "java" in p.name()).kill()
    wait_until(lambda: service.get("/health/ready").status_code == 503)
    wait_until(lambda: service.get("/health/ready").status_code == 200)
    assert service.manage("GET", "/models/gpt2").json()[0]["modelVersion"] == "2.0"
    assert service.complete(max_tokens=2).status_code == 200
    removed = service.manage("DELETE", "/models/gpt2/1.0")
    assert removed.status_code == 200, removed.text
    assert service.complete(max_tokens=2).status_code == 200

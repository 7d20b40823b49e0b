"""Start, shut-down and what is left behind."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import requests

from gateway.torchserve.restarts import GaveUp, Restarts
from tests.gateway.conftest import (
    ROOT,
    Service,
    StartService,
    environment_for_tests,
    events,
    is_alive,
    wait_until,
)
from tests.patience import PATIENCE

LONG = {"prompt": "A", "max_tokens": 900, "ignore_eos": True, "n": 8}
CHANGES = [
    ("POST", "/models?url=gpt2.mar&model_name=other"),
    ("PUT", "/models/gpt2?min_worker=2"),
    ("PUT", "/models/gpt2/1.0/set-default"),
    ("DELETE", "/models/gpt2/1.0"),
]


def run_gateway(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway"],
        cwd=ROOT,
        env=environment_for_tests() | {"PORT": "0"} | settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_one_line_says_where_it_is_once_it_is_ready(service: Service) -> None:
    assert service.printed == [f"GPT-2 is ready: {service.url}"]


def test_a_missing_archive_is_one_clear_line(tmp_path: Path) -> None:
    ended = run_gateway(MODEL_STORE=str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "gpt2.mar" in ended.stderr and "package_model" in ended.stderr


def test_a_taken_port_is_one_clear_line(model_store: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run_gateway(MODEL_STORE=str(model_store), PORT=port, BIND="127.0.0.1")
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PORT": "many"}, "PORT must be a whole number from 0 to 65535"),
        ({"MAX_BODY_BYTES": "9e9"}, "MAX_BODY_BYTES must be a whole number from 1024 to 6000000,"),
        ({"LANGUAGE_GATE": "maybe"}, "LANGUAGE_GATE must be one of off, warn, refuse"),
        ({"API_KEYS": "a:1,a:2"}, "API_KEYS"),
        ({"MANAGEMENT_KEY_FILE": "/nowhere/at/all"}, "MANAGEMENT_KEY_FILE"),
    ],
)
def test_a_bad_setting_is_one_clear_line(
    model_store: Path, settings: dict[str, str], words: str
) -> None:
    ended = run_gateway(MODEL_STORE=str(model_store), **settings)
    assert ended.returncode == 1
    assert words in ended.stderr and ended.stderr.count("\n") <= 2


def fail_after(restarts: Restarts, served_seconds: float) -> float:
    """Have TorchServe end after so much more service; return the pause before its next start."""
    restarts.serve(served_seconds)
    return restarts.fail("it ended")


def test_the_pause_before_a_start_doubles_with_each_failure_up_to_a_bound() -> None:
    restarts = Restarts("TorchServe failed", most=8, window=100)
    assert [fail_after(restarts, 1) for _ in range(8)] == [0, 0.5, 1, 2, 4, 8, 16, 30]
    with pytest.raises(GaveUp, match="failed 9 times within 100 s of service"):
        fail_after(restarts, 1)


def test_a_failure_is_forgotten_once_enough_was_served_since() -> None:
    restarts = Restarts("TorchServe failed", most=8, window=100)
    assert [fail_after(restarts, 60) for _ in range(3)] == [0, 0.5, 0.5]
    # However long it takes: time in which nothing was served heals nothing.
    assert [fail_after(restarts, 0) for _ in range(2)] == [1, 2]
    assert fail_after(restarts, 101) == 0


def test_it_gives_up_when_the_worker_never_comes(
    tmp_path: Path, start_service: StartService
) -> None:
    with zipfile.ZipFile(tmp_path / "gpt2.mar", "w") as archive:
        archive.writestr("broken.py", "import time\ntime.sleep(600)\n")
        archive.writestr(
            "MAR-INF/MANIFEST.json",
            '{"model": {"modelName": "gpt2", "modelVersion": "1.0", "handler": "broken.py"}}',
        )
    service = start_service(ready=False, store=tmp_path, START_SECONDS="5", MAX_RESTARTS="1")
    assert service.process.wait(PATIENCE) == 1
    service.stop()
    assert "TorchServe failed 2 times" in service.log[-1]
    assert not service.printed


def test_it_gives_up_when_a_worker_that_was_there_never_comes_back(
    tmp_path: Path, start_service: StartService, model_store: Path
) -> None:
    shutil.copy(model_store / "gpt2.mar", tmp_path / "gpt2.mar")
    service = start_service(store=tmp_path, START_SECONDS="60", MAX_RESTARTS="0")
    worker = service.workers()[0]
    for handler in Path(worker.environ()["TMPDIR"]).rglob("gpt2_handler.py"):
        handler.write_text("raise SystemExit('this handler cannot be loaded any more')\n")
    worker.kill()
    wait_until(lambda: service.get("/health/ready").status_code == 503)
    assert service.process.wait(PATIENCE) == 1
    service.stop()
    assert "No worker was ready" in service.log[-1]


def test_a_drain_lets_a_stream_end_and_refuses_new_work(start_service: StartService) -> None:
    service = start_service(DRAIN_SECONDS="60")
    worker = service.workers()[0]
    data: list[object] = []
    body = b'{"input": "A dog"}'

    def stream() -> None:
        with requests.post(
            service.url + "/v1/completions",
            json={"prompt": "A", "max_tokens": 600, "ignore_eos": True, "stream": True},
            stream=True,
            timeout=PATIENCE,
        ) as reply:
            data.extend(events(reply))

    streaming = threading.Thread(target=stream)
    streaming.start()
    wait_until(lambda: service.metric("vllm:num_requests_running") == 1)
    worker.send_signal(signal.SIGSTOP)  # the stream lasts for as long as is looked at the drain
    late = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
    head = b"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    late.sendall(head + body[:5])
    for _ in range(2):  # what came before them is read before they are answered
        assert service.get("/health/live").status_code == 200
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: service.get("/health/ready").status_code == 503)
    ready = service.get("/health/ready")
    assert ready.status_code == 503 and ready.json() == {"status": "draining"}
    refused = service.complete()
    assert refused.status_code == 503 and refused.headers["connection"] == "close"
    assert int(refused.headers["retry-after"]) > 0
    assert service.get("/health/live").status_code == 200
    with late:  # its head came before the signal, its body's end after it
        late.sendall(body[5:])
        told = b"".join(iter(lambda: late.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 503 ") and b'"code": "draining"' in told
    assert b"\r\nretry-after: " in told and b"\r\nconnection: close" in told
    for method, change in CHANGES:
        reply = service.manage(method, change)
        assert reply.status_code == 503, (method, change, reply.text)
        assert reply.json()["error"]["code"] == "draining"
        assert int(reply.headers["retry-after"]) > 0
    assert service.manage("GET", "/models/gpt2").status_code == 200
    worker.send_signal(signal.SIGCONT)
    streaming.join(PATIENCE)
    assert data[-1] == "[DONE]"
    assert data[-2]["choices"][0]["finish_reason"] == "length"  # type: ignore[index]
    assert service.process.wait(PATIENCE) == 0


def test_what_is_left_after_the_drain_is_told_and_nothing_stays_behind(
    start_service: StartService,
) -> None:
    service = start_service(DRAIN_SECONDS="0.3")
    family = service.descendants()
    with requests.post(
        service.url + "/v1/completions", json=LONG | {"stream": True}, stream=True, timeout=PATIENCE
    ) as reply:
        lines = reply.iter_lines()
        next(lines)
        service.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line.startswith(b"data: ")]
    assert b'"code": "drained"' in rest[-2] and rest[-1] == b"data: [DONE]"
    assert service.process.wait(PATIENCE) == 0
    wait_until(lambda: not any(is_alive(process) for process in family))


ORPHAN = """
from gateway.torchserve.process import _prepare_child
_prepare_child(parent=0)
print("it lives on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends children on Linux only")
def test_a_child_whose_parent_died_as_it_was_made_does_not_live_on() -> None:
    command = [sys.executable, "-c", ORPHAN]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends children on Linux only")
def test_kill_9_leaves_no_process_behind(start_service: StartService) -> None:
    service = start_service()
    family = service.descendants()
    assert len(family) >= 2
    with requests.post(
        service.url + "/v1/completions", json=LONG | {"stream": True}, stream=True, timeout=PATIENCE
    ) as reply:
        lines = reply.iter_lines()
        next(lines)
        service.process.kill()
        service.process.wait()
    wait_until(lambda: not any(is_alive(process) for process in family))

"""How a worker of TorchServe starts: its weights on large pages, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.launch.launch import CRASHES, CRASHES_VARIABLE, WORKER
from gateway.torchserve.retired import Retired
from tests.gateway.conftest import Service

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# Prints what the protocol makes of the value of an expression, in hexadecimal.
ENCODE = f"""
import runpy, sys
runpy.run_path({str(WORKER)!r})["import_protocol_without_torch"]()
from ts.protocol.otf_message_handler import create_predict_response
value = eval(sys.argv[1])
print(create_predict_response([value], {{0: "id"}}, "", 200).hex())
"""


def huge_kb(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (line,) = (line for line in rollup if line.startswith("AnonHugePages:"))
    return int(line.split()[1])


def test_weights_are_on_huge_pages(service: Service) -> None:
    worker = service.workers()[0]
    java = worker.parent()
    assert java is not None
    if PAGES.exists() and "[never]" not in PAGES.read_text():
        assert huge_kb(worker.pid) > huge_kb(java.pid)


def test_a_worker_that_serves_has_not_loaded_torch(service: Service) -> None:
    assert service.complete(max_tokens=2).status_code == 200
    maps = Path(f"/proc/{service.workers()[0].pid}/maps").read_text()
    assert "/torch/" not in maps and "/tokenizers/" in maps


@pytest.mark.parametrize(
    "place", [["--port", "9001"], ["--sock-type", "unix", "--sock-name", "/tmp/a.b/.ts.sock.9001"]]
)
def test_a_worker_that_is_retired_ends_at_once(tmp_path: Path, place: list[str]) -> None:
    retired = Retired()
    assert not retired.add("9001")  # nothing runs yet
    retired.look_in(tmp_path)
    (tmp_path / CRASHES).mkdir()
    command = [sys.executable, str(WORKER), *place]
    environment = {**os.environ, CRASHES_VARIABLE: str(tmp_path / CRASHES)}

    def run() -> int:
        ended = subprocess.run(command, env=environment, capture_output=True, check=False)
        return ended.returncode

    assert run() != 0  # it goes on, and misses what TorchServe says besides
    assert retired.add("9001") and run() == 0
    retired.remove("9001")
    assert run() != 0


def encode(value: str, *, path: str) -> bytes:
    """Return the protocol's bytes for the value of a Python expression."""
    done = subprocess.run(
        [sys.executable, "-c", ENCODE, value],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return bytes.fromhex(done.stdout)


@pytest.fixture
def without_torch(tmp_path: Path) -> str:
    """A path of imports on which torch cannot be loaded."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('there is no torch')\n")
    return str(tmp_path)


@pytest.mark.parametrize("value", ['"text"', 'b"bytes"', '{"a": [1, None]}', "object()"])
def test_replies_need_no_torch(value: str, without_torch: str) -> None:
    words = {'"text"': b"text", 'b"bytes"': b"bytes", "object()": b"Unsupported model output"}
    expected = words.get(value) or json.dumps({"a": [1, None]}, indent=2).encode()
    assert expected in encode(value, path=without_torch)


def test_who_imports_torch_afterwards_is_told_that_there_is_none(without_torch: str) -> None:
    with pytest.raises(AssertionError, match="there is no torch"):
        encode("__import__('torch')", path=without_torch)


def test_a_handler_that_loads_torch_may_reply_with_tensors() -> None:
    reply = encode("__import__('torch').ones(3)", path=str(Path.cwd()))
    assert b"PK" in reply and b"data/0" in reply  # as torch.save writes it

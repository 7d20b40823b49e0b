"""Real TorchServes for the HTTP rows: this project's archive, and the tutorial handler's."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.checkpoints import CACHE, ROOT, Checkpoint
from bench.environments import TRANSFORMERS, SetUpError, run
from bench.process import descendants, resident_mb
from gateway.launch.launch import TorchServeSettings
from gateway.launch.ports import Ports
from gateway.torchserve.process import TorchServe

READY_SECONDS = 180.0


class Server:
    """A TorchServe that is ready: where to ask, how long that took, and what it weighs.

    Args:
        url: Where to ask.
        pid: Java's.
        began: When its process was started (time.monotonic).
        one_token: The JSON body of a request for one token.
    """

    def __init__(self, url: str, pid: int, began: float, one_token: dict[str, object]) -> None:
        self.url = url
        self._pid = pid
        body = json.dumps(one_token).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=READY_SECONDS):
            self.start_seconds = time.monotonic() - began

    def processes(self) -> list[int]:
        """Java and its workers."""
        return [self._pid, *descendants(self._pid)]

    def resident_mb(self) -> float:
        """Memory of Java and its workers, in MB."""
        return sum(resident_mb(pid) for pid in self.processes())

    def worker_mb(self) -> float:
        """Memory of the workers alone, in MB."""
        return sum(resident_mb(pid) for pid in descendants(self._pid))


@contextlib.contextmanager
def ours(home: Path) -> Iterator[Server]:
    """Serve the archive in this directory by a TorchServe as ./scripts/serve starts it."""
    settings = TorchServeSettings(
        model_store=home, models={"gpt2": "gpt2.mar"}, environment={"N_TOKENS": "20"}
    )
    server = TorchServe(settings)
    began = time.monotonic()
    server.start()
    try:
        server.wait_ready(READY_SECONDS)
        if server.process is None:
            raise SetUpError("TorchServe has ended")
        url = f"{settings.inference_url}/predictions/gpt2"
        yield Server(url, server.process.pid, began, {"prompt": [5, 6], "max_tokens": 1})
    finally:
        server.stop()


@contextlib.contextmanager
def tutorial(checkpoint: Checkpoint, say: Callable[[str], None]) -> Iterator[Server]:
    """Serve the tutorial handler in an environment of its own, with TorchServe's defaults."""
    python = TRANSFORMERS.ensure(say)
    store = CACHE / "tutorial" / checkpoint.path.name
    if not (store / "gpt2.mar").exists():
        _pack_tutorial(python, checkpoint, store)
    ports = Ports.free()
    properties = store / "config.properties"
    properties.write_text(
        f"inference_address=http://127.0.0.1:{ports.inference}\n"
        f"management_address=http://127.0.0.1:{ports.management}\n"
        f"metrics_address=http://127.0.0.1:{ports.metrics}\n"
        f"grpc_inference_port={ports.grpc_inference}\n"
        f"grpc_management_port={ports.grpc_management}\n"
        "disable_token_authorization=true\njob_queue_size=1000\ndefault_response_timeout=900\n"
        "disable_system_metrics=true\ninstall_py_dep_per_model=false\n"
    )
    command = [str(python), "-m", "bench.tutorial.serve", str(store)]
    began = time.monotonic()
    with (store / "torchserve.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_ready(process, f"http://127.0.0.1:{ports.management}/models/gpt2")
        url = f"http://127.0.0.1:{ports.inference}/predictions/gpt2"
        yield Server(url, process.pid, began, {"input_ids": [5, 6], "max_new_tokens": 1})
    finally:
        process.terminate()
        process.wait(30)


def _pack_tutorial(python: Path, checkpoint: Checkpoint, store: Path) -> None:
    files = store / "files"
    shutil.rmtree(store, ignore_errors=True)
    files.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint.path / name, files / name)
    command = [
        str(python),
        "-c",
        "from model_archiver.model_packaging import *; generate_model_archive()",
    ]
    command += ["--model-name", "gpt2", "--version", "1.0", "--export-path", str(store)]
    command += ["--handler", str(ROOT / "bench" / "tutorial" / "handler.py")]
    run([*command, "--extra-files", str(files)], "packing the tutorial handler")


def _wait_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SetUpError("tutorial handler: TorchServe ended while it was starting")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, ValueError):
            with urllib.request.urlopen(url, timeout=5) as response:
                workers = json.load(response)[0]["workers"]
            if workers and all(worker["status"] == "READY" for worker in workers):
                return
        time.sleep(0.2)
    raise SetUpError(f"tutorial handler: not ready in {READY_SECONDS:.0f} s")


def client_python() -> str:
    """Interpreter of the HTTP clients."""
    return sys.executable

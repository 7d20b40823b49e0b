"""A TorchServe as its manual starts it, with nothing of this project's around it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import requests

from gateway.launch.launch import find_java
from tests.conftest import free_ports
from tests.patience import PATIENCE, wait_until

# TorchServe's own defaults but for the ports, and for its keys, which no test could know.
PROPERTIES = """\
inference_address=http://127.0.0.1:{}
management_address=http://127.0.0.1:{}
metrics_address=http://127.0.0.1:{}
grpc_inference_port={}
grpc_management_port={}
disable_token_authorization=true
enable_model_api=true
"""


@contextlib.contextmanager
def started(
    directory: Path, store: str, more: str = "", models: str = ""
) -> Iterator[dict[str, str]]:
    """`torchserve --start` in a directory; where it listens, and its log.

    `more` are further lines of config.properties; they count more than those above.
    """
    ports = free_ports(5)
    (directory / "config.properties").write_text(PROPERTIES.format(*ports) + more)
    java = find_java()
    environment = {
        "HOME": str(directory),
        "JAVA_HOME": str(java.parent.parent),
        "PATH": f"{Path(sys.executable).parent}:{java.parent}:{os.environ['PATH']}",
        "TMPDIR": str(directory),
    }
    command = ["torchserve", "--start", "--foreground", "--ncs"]
    command += ["--model-store", store, "--ts-config", "config.properties"]
    command += ["--models", models] if models else []
    log = directory / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    urls = {
        "inference": f"http://127.0.0.1:{ports[0]}",
        "management": f"http://127.0.0.1:{ports[1]}",
        "log": str(log),
    }

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"{urls['inference']}/ping", timeout=PATIENCE).ok
        except requests.RequestException:
            return False

    try:
        wait_until(listens)
        yield urls
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

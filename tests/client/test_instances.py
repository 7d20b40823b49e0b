"""Three real instances behind nginx, of which one is killed: no stream of the client is lost."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from bench.nginx import find_nginx, nginx_command
from gpt2_client import Client, ClientError, TextEvent
from tests.conftest import free_ports
from tests.gateway.conftest import Service
from tests.patience import PATIENCE

STREAMS, WRITERS, SEEDS = 200, 20, 10
WORDS = {"prompt": "Once upon a time", "max_tokens": 24, "ignore_eos": True}
NGINX = """\
  log_format served "$request_method $status";
  upstream instances {{
    least_conn;
    {servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    access_log {home}/access.log served;
    location / {{
      proxy_pass http://instances;
      proxy_http_version 1.1;
      proxy_buffering off;
      # Nothing is moved here: it is the client that asks again.
      proxy_next_upstream off;
      proxy_connect_timeout 1s;
    }}
  }}
"""


@dataclass
class Fleet:
    """The instances, the address in front of them, and what nginx was asked."""

    instances: list[Service]
    url: str
    log: Path

    def asked(self) -> int:
        return self.log.read_text().count("POST ")


@pytest.fixture
def fleet(model_store: Path, tmp_path: Path) -> Iterator[Fleet]:
    nginx = find_nginx()
    if nginx is None:
        pytest.skip("nginx is not installed")
    (port,) = free_ports(1)
    with contextlib.ExitStack() as stack:
        instances = [Service(model_store) for _ in range(3)]
        for instance in instances:
            stack.callback(instance.stop)
        for instance in instances:
            instance.wait_ready()
        servers = "\n    ".join(
            f"server 127.0.0.1:{each.port} max_fails=1 fail_timeout=10s;" for each in instances
        )
        served = NGINX.format(home=tmp_path, port=port, servers=servers)
        proxy = subprocess.Popen(nginx_command(nginx, tmp_path, served))
        stack.callback(proxy.wait, PATIENCE)
        stack.callback(proxy.terminate)
        yield Fleet(instances, f"http://127.0.0.1:{port}", tmp_path / "access.log")


def kill(instance: Service) -> None:
    """End every process of an instance at once, as a machine that is lost does."""
    family = [psutil.Process(instance.process.pid), *instance.descendants()]
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


class Writers:
    """Clients with streams, `each` of them one after the other; a seed says which text is right."""

    def __init__(self, url: str) -> None:
        self.texts: list[tuple[int, str]] = []
        self.failures: list[ClientError] = []
        each = STREAMS // WRITERS
        self._threads = [
            threading.Thread(target=self._write, args=(url, range(n * each, (n + 1) * each)))
            for n in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)

    def _write(self, url: str, numbers: range) -> None:
        with Client(url) as client:
            for number in numbers:
                try:
                    with client.stream(**WORDS, seed=number % SEEDS) as stream:
                        text = "".join(e.text for e in stream if isinstance(e, TextEvent))
                    self.texts.append((number % SEEDS, text))
                except ClientError as error:
                    self.failures.append(error)


def test_no_stream_is_lost_with_an_instance(fleet: Fleet) -> None:
    with Client(fleet.instances[0].url) as client:
        right = {seed: client.generate(**WORDS, seed=seed).text for seed in range(SEEDS)}
    victim = fleet.instances[1]
    writers = Writers(fleet.url)
    while len(writers.texts) < STREAMS // 4 or not victim.metric("vllm:num_requests_running"):
        time.sleep(0.02)
    kill(victim)
    writers.wait()
    assert writers.failures == []
    assert len(writers.texts) == STREAMS
    assert {text for text in writers.texts if text[1] != right[text[0]]} == set()
    assert fleet.asked() > STREAMS, "no stream was asked for again, so none was cut"

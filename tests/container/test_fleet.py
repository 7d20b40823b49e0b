"""Three instances behind nginx, one Redis: they share nothing else, and any of them may die."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
import requests

from client import Client, FinishEvent
from client.errors import ClientError
from tests.conftest import free_ports
from tests.container.conftest import Contract
from tests.container.container import Container

PER_MINUTE = 60
KEYS = {name: f"{name}-key-0123456789" for name in ("alice", "bob", "carol")}
NGINX = """\
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  upstream instances {{
    least_conn;
    {servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://instances;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      # A request that began to be served is nobody else's: the client is told.
      proxy_next_upstream error timeout;
      proxy_connect_timeout 1s;
    }}
  }}
}}
"""


class Fleet:
    """The containers, and the one address in front of them."""

    def __init__(self, containers: list[Container], url: str) -> None:
        self.containers = containers
        self.url = url


@pytest.fixture(scope="module")
def fleet(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    home = tmp_path_factory.mktemp("fleet")
    redis_port, port = free_ports(2)
    with contextlib.ExitStack() as stack:
        containers = []
        for _ in range(3):
            # Each reaches Redis at this machine's end of its cable.
            made = Container(
                image,
                *("--cpus", "1"),
                REDIS_URL=f"redis://{{outside}}:{redis_port}/0",
                REQUESTS_PER_MINUTE=str(PER_MINUTE),
                API_KEYS=",".join(f"{name}:{key}" for name, key in KEYS.items()),
                TRUSTED_PROXY_HOPS="1",
            )
            stack.callback(made.remove)
            containers.append(made)
        addresses = [made.network.outside for made in containers]
        words = ["--port", str(redis_port), "--save", "", "--protected-mode", "no"]
        words += ["--bind", "127.0.0.1", *addresses]
        redis = subprocess.Popen(["redis-server", *words], cwd=home, stdout=subprocess.DEVNULL)
        stack.callback(end, redis)
        for made in containers:
            made.wait_ready()
        servers = "\n    ".join(
            f"server {made.network.address}:{made.port} max_fails=1 fail_timeout=10s;"
            for made in containers
        )
        (home / "nginx.conf").write_text(NGINX.format(home=home, port=port, servers=servers))
        words = ["nginx", "-p", str(home), "-c", f"{home}/nginx.conf", "-e", f"{home}/error.log"]
        nginx = subprocess.Popen(words)
        stack.callback(end, nginx)
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/ready")
        yield Fleet(containers, url)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(10)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


class Writers:
    """Clients with long streams, each in a thread of its own."""

    def __init__(self, fleet: Fleet, count: int) -> None:
        self.ends: list[str] = []
        self.at: list[float] = []
        self._begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._write, args=(fleet,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            assert self._begun.acquire(timeout=30)

    def wait(self) -> list[str]:
        for thread in self._threads:
            thread.join(60)
        assert len(self.ends) == len(self._threads), "a client still waits"
        return self.ends

    def _write(self, fleet: Fleet) -> None:
        end = "silence"
        with Client(fleet.url, KEYS["bob"], retries=0) as client:
            try:
                with client.stream("A", max_tokens=900, n=8, ignore_eos=True) as stream:
                    for number, event in enumerate(stream):
                        if number == 0:
                            self._begun.release()
                        if isinstance(event, FinishEvent):
                            end = event.reason
            except ClientError as error:
                end = type(error).__name__
                self._begun.release()
        self.at.append(time.monotonic())
        self.ends.append(end)


def test_only_the_streams_of_the_instance_that_dies_are_cut(
    fleet: Fleet, contract: Contract
) -> None:
    writers = Writers(fleet, 6)
    victim = fleet.containers[0]
    own = sum(running(made) for made in fleet.containers[:1]) // 8
    psutil.Process(victim.pid).kill()
    died = time.monotonic()
    ends = Counter(writers.wait())
    cut = 6 - ends["length"]
    contract.point(
        "an instance dies: only its own streams are cut",
        f"{cut} of its {own} streams cut, {ends['length']} of the others' {6 - own} finished",
    )
    assert 0 < own < 6 and cut == own, ends
    first_cut = min(writers.at) - died
    assert first_cut < 10


def test_plain_requests_are_served_by_another_instance(fleet: Fleet, contract: Contract) -> None:
    # One instance is gone; another one's TorchServe dies while requests come.
    texts: list[str] = []
    failures: list[str] = []

    def ask() -> None:
        with Client(fleet.url, KEYS["carol"]) as client:
            for _ in range(5):
                try:
                    texts.append(client.generate("Once upon a time", max_tokens=8).text)
                except ClientError as error:
                    failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    fleet.containers[1].torchserve.kill()
    for thread in threads:
        thread.join(90)
    contract.point(
        "plain requests are served by another", f"{len(texts)} of 20 with the client's retries"
    )
    assert len(texts) == 20, failures


def test_a_limit_holds_over_all_instances(fleet: Fleet, contract: Contract) -> None:
    statuses = Counter(
        requests.post(
            f"{fleet.url}/v1/completions",
            json={"prompt": "A", "max_tokens": 1},
            headers={"authorization": f"Bearer {KEYS['alice']}"},
            timeout=30,
        ).status_code
        for _ in range(2 * PER_MINUTE)
    )
    contract.point(
        f"{PER_MINUTE} requests a minute hold over all instances",
        f"{statuses[200]} served, {statuses[429]} refused",
    )
    assert PER_MINUTE <= statuses[200] <= PER_MINUTE * 1.1
    assert statuses[200] + statuses[429] == 2 * PER_MINUTE


def running(container: Container) -> int:
    """Texts that an instance is writing now."""
    for line in container.get("/metrics").text.splitlines():
        if line.startswith("gpt2_num_requests_running "):
            return int(float(line.split()[1]))
    raise AssertionError("no such metric")

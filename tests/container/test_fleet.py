"""Three instances behind nginx, one Redis: they share nothing else, and any of them may die."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from bench.nginx import find_nginx, nginx_command
from gpt2_client import Client, FinishEvent
from gpt2_client.errors import APIError, ClientError
from tests.conftest import free_ports
from tests.container.conftest import Contract
from tests.container.container import Container

PER_MINUTE = 60
PROMPT = "Once upon a time"
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")
KEYS = {name: f"{name}-key-0123456789" for name in NAMES}
NGINX = """\
  log_format served "$request_method $status $upstream_status $upstream_addr";
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
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      # Nothing is moved here: whose instance is lost is told so, 502, and may ask again.
      proxy_next_upstream off;
      proxy_connect_timeout 1s;
    }}
  }}
"""


@dataclass(frozen=True)
class Served:
    """A line of nginx's log: who answered what, in the order they were asked."""

    status: int
    addresses: tuple[str, ...]


class Fleet:
    """The containers, and the one address in front of them."""

    def __init__(self, containers: list[Container], url: str, home: Path) -> None:
        self.containers = containers
        self.url = url
        self._log = home / "access.log"

    def served(self) -> list[Served]:
        """What nginx did, for POSTs."""
        found = []
        for line in self._log.read_text(encoding="utf-8").splitlines():
            method, status, rest = line.split(" ", 2)
            words = rest.replace(",", "").split()
            if method == "POST":
                found.append(Served(int(status), tuple(words[len(words) // 2 :])))
        return found


@pytest.fixture
def fleet(image: str, tmp_path: Path) -> Iterator[Fleet]:
    home = tmp_path
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
        # One that was lost is left alone for ten seconds, then given a request to see.
        servers = "\n    ".join(
            f"server {address_of(made)} max_fails=1 fail_timeout=10s;" for made in containers
        )
        served = NGINX.format(home=home, port=port, servers=servers)
        nginx = subprocess.Popen(nginx_command(find_nginx() or "nginx", home, served))
        stack.callback(end, nginx)
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/ready")
        yield Fleet(containers, url, home)


def address_of(container: Container) -> str:
    return f"{container.network.address}:{container.port}"


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


@dataclass(frozen=True)
class Told:
    """How a client's text ended: `what` is the reason of its end, or the error it was told."""

    what: str
    at: float


class Writers:
    """Clients with long streams, each in a thread of its own."""

    def __init__(self, fleet: Fleet, count: int) -> None:
        self.ends: list[Told] = []
        self._begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._write, args=(fleet,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            assert self._begun.acquire(timeout=120)

    def wait(self) -> list[Told]:
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
                code = error.code if isinstance(error, APIError) else None
                end = code or type(error).__name__
                self._begun.release()
        self.ends.append(Told(end, time.monotonic()))


class Askers:
    """Clients with plain requests, each in a thread, `each` of them one after the other.

    They are as a user's are, retries and all. Every request has a seed of its own.
    """

    def __init__(self, fleet: Fleet, clients: int, each: int = 1, **options: Any) -> None:
        self.count = clients * each
        self.texts: dict[int, str] = {}  # of each seed
        self.failures: list[ClientError] = []
        self._options = options
        keys = [key for name, key in KEYS.items() if name != "bob"]
        self._threads = [
            threading.Thread(
                target=self._ask,
                args=(fleet.url, keys[n % len(keys)], range(n * each, n * each + each)),
            )
            for n in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(120)
        assert len(self.texts) + len(self.failures) == self.count, "a client still waits"

    def ask_again(self, container: Container) -> dict[int, str]:
        """The texts of the same seeds, written by this instance in peace."""
        with Client(container.url, KEYS["bob"]) as client:
            return {seed: self._text(client, seed) for seed in self.texts}

    def _ask(self, url: str, key: str, seeds: range) -> None:
        with Client(url, key) as client:
            for seed in seeds:
                try:
                    self.texts[seed] = self._text(client, seed)
                except ClientError as error:
                    self.failures.append(error)

    def _text(self, client: Client, seed: int) -> str:
        reply = client.generate(PROMPT, seed=seed, **self._options)
        return "\n".join(choice.text for choice in reply.choices)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_only_the_streams_of_the_instance_that_dies_are_cut(
    number: int, fleet: Fleet, contract: Contract
) -> None:
    writers = Writers(fleet, 6)
    victim = fleet.containers[number - 1]
    own = victim.figure("vllm:num_requests_running") // 8
    psutil.Process(victim.pid).kill()
    died = time.monotonic()
    writers.wait()
    ends = Counter(end.what for end in writers.ends)
    cut = 6 - ends["length"]
    contract.point(
        f"instance {number} of 3 dies: only its own streams are cut",
        f"{cut} of its {own} streams cut, {ends['length']} of the others' {6 - own} finished",
    )
    # Nobody is left in it to send an event: the client sees the connection end, and says so.
    assert 0 < own < 6 and ends == {"StreamBroken": own, "length": 6 - own}
    assert max(end.at for end in writers.ends if end.what == "StreamBroken") - died < 10


def test_streams_of_a_torchserve_that_dies_go_on(fleet: Fleet, contract: Contract) -> None:
    writers = Writers(fleet, 6)
    victim = fleet.containers[2]
    own = victim.figure("vllm:num_requests_running") // 8
    victim.torchserve.kill()
    writers.wait()
    ends = Counter(end.what for end in writers.ends)
    contract.point(
        "a TorchServe dies: its streams go on with the next one",
        f"{ends['length']} of 6 streams finished, {own} of them were its own",
    )
    assert 0 < own < 6 and ends == {"length": 6}


def test_plain_requests_outlive_an_instance(fleet: Fleet, contract: Contract) -> None:
    """A whole instance dies with every slot taken and a queue: no plain request is lost.

    Those that it had, begun or waiting, are sent again by their clients, to whom nginx says 502.
    """
    victim = fleet.containers[1]
    process = psutil.Process(victim.pid)
    begun = Askers(fleet, 6, max_tokens=900, n=4, ignore_eos=True)
    for container in fleet.containers:  # two of them each, before others are shared out
        container.wait_figure("vllm:num_requests_running", 8)
    writers = Writers(fleet, 9)
    for container in fleet.containers:
        container.wait_figure("vllm:num_requests_running", 32)
    queued = Askers(fleet, 30, max_tokens=8)
    victim.wait_figure("vllm:num_requests_waiting", 8)
    waiting = victim.figure("vllm:num_requests_waiting")
    process.kill()
    for askers in (begun, queued):
        askers.wait()
    writers.wait()
    address = address_of(victim)
    served = fleet.served()
    told = [line for line in served if line.status == 502]
    ends = Counter(end.what for end in writers.ends)
    count = begun.count + queued.count
    contract.point(
        "an instance dies, full: its plain requests are served by another",
        f"{len(begun.texts) + len(queued.texts)} of {count} served; {len(told)} were in it, "
        f"{waiting} of them in its queue, and were sent again by their clients; "
        f"{ends['StreamBroken']} of 9 streams cut",
    )
    assert begun.failures == [] and queued.failures == []
    assert len(begun.texts) == begun.count and len(queued.texts) == queued.count
    # It was the clients' doing: nginx moved nothing.
    assert all(line.addresses == (address,) for line in told)
    assert all(len(line.addresses) == 1 for line in served)
    assert len(told) > waiting, "nothing that had begun was lost"
    assert ends == {"StreamBroken": 3, "length": 6}
    # Sent again or not, the text is the one of its seed.
    assert queued.texts == queued.ask_again(fleet.containers[0])


def test_plain_requests_outlive_a_torchserve(fleet: Fleet, contract: Contract) -> None:
    askers = Askers(fleet, 5, each=8, max_tokens=8)
    victim = fleet.containers[0]
    time.sleep(0.2)
    victim.torchserve.kill()
    askers.wait()
    others = {address_of(made) for made in fleet.containers[1:]}
    elsewhere = [line for line in fleet.served() if line.addresses[-1] in others]
    contract.point(
        "a TorchServe dies: plain requests are served",
        f"{len(askers.texts)} of {askers.count} with the client's retries",
    )
    assert askers.failures == [] and all(askers.texts.values())
    assert elsewhere


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
    serving = {line.addresses[-1] for line in fleet.served() if line.status == 200}
    contract.point(
        f"{PER_MINUTE} requests a minute hold over all instances",
        f"{statuses[200]} served, {statuses[429]} refused, by {len(serving)} instances",
    )
    assert len(serving) == len(fleet.containers), "one instance alone proves nothing"
    assert PER_MINUTE <= statuses[200] <= PER_MINUTE * 1.1
    assert statuses[200] + statuses[429] == 2 * PER_MINUTE

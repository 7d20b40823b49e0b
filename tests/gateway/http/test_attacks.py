"""Honest clients are served beside attackers as they are without them.

How long they wait meanwhile is measured by `./scripts/soak --doors`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.gateway.conftest import Service, StartService

TRIES = 3

# The attackers are a process of their own and give way, as they would on other machines.
ATTACKER = """
import os, socket, sys, time
os.nice(19)
kind, port = sys.argv[1], int(sys.argv[2])

def connect():
    return socket.create_connection(("127.0.0.1", port), timeout=120)

def slow_heads():
    made = [connect() for _ in range(1000)]
    for each in made:
        each.sendall(b"POST /v1/completions HTTP/1.1\\r\\nhost: x\\r\\nx-slow")
    yield
    while True:
        for each in made:
            try:
                each.sendall(b"y")
            except OSError:
                pass
            time.sleep(0.005)
        yield

def long_heads():
    block = b"".join(b"x-%d: %s\\r\\n" % (n, b"y" * 1000) for n in range(1000))
    while True:
        with connect() as made:
            try:
                made.sendall(b"GET /health/live HTTP/1.1\\r\\nhost: x\\r\\n" + block)
            except OSError:
                pass
        time.sleep(0.01)
        yield

def endless_bodies():
    head = b"POST /generate HTTP/1.1\\r\\nhost: x\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
    while True:
        with connect() as made:
            try:
                made.sendall(head)
                while True:
                    made.sendall(b"1000\\r\\n" + b"x" * 4096 + b"\\r\\n")
            except OSError:
                pass
        time.sleep(0.01)
        yield

for number, _ in enumerate(globals()[kind]()):
    if number == 0:
        print("attacking", flush=True)
"""


@pytest.fixture(scope="module")
def attacked(start_service: StartService) -> Service:
    return start_service(MAX_CONNECTIONS="1500", HEADER_SECONDS="20")


@contextlib.contextmanager
def attack(kind: str, port: int) -> Iterator[None]:
    command = [sys.executable, "-c", ATTACKER, kind, str(port)]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"attacking\n"
        yield
        assert attacker.poll() is None, "the attack ended by itself"
    finally:
        attacker.kill()
        attacker.communicate()


def text(service: Service) -> str:
    reply = service.complete(max_tokens=100, ignore_eos=True, seed=1)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["text"])


@pytest.mark.parametrize("kind", ["slow_heads", "long_heads", "endless_bodies"])
def test_honest_clients_get_their_texts(attacked: Service, kind: str) -> None:
    alone = text(attacked)
    with attack(kind, attacked.port):
        assert [text(attacked) for _ in range(TRIES)] == [alone] * TRIES

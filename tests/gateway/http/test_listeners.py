"""`localhost` is the service, by IPv4 and by IPv6, and loopback has the same rights on both."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import pytest
import requests

from gateway.http.listeners import listen, unmapped
from gateway.settings import Settings
from tests.conftest import free_ports
from tests.gateway.conftest import Service, StartService
from tests.patience import PATIENCE


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@contextlib.contextmanager
def listening(**settings: object) -> Iterator[list[tuple[str, int]]]:
    """The addresses that are listened on."""
    listeners = listen(Settings(**settings))  # type: ignore[arg-type]
    try:
        yield [listener.getsockname()[:2] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


@needs_ipv6
@pytest.mark.parametrize("is_fixed", [True, False], ids=["fixed", "any"])
def test_by_default_ipv4_and_the_loopback_of_ipv6_have_one_port(is_fixed: bool) -> None:
    port = free_ports(1)[0] if is_fixed else 0
    with listening(port=port) as [first, second]:
        assert (first[0], second[0]) == ("0.0.0.0", "::1")
        assert first[1] == second[1] and port in (0, first[1])


@needs_ipv6
@pytest.mark.parametrize("bind", ["127.0.0.1", "::1", "::"])
def test_any_other_address_is_the_only_one(bind: str) -> None:
    with listening(port=0, bind=bind) as found:
        assert [address for address, _ in found] == [bind]


@needs_ipv6
def test_a_taken_port_of_the_second_is_told_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with listening(port=port) as found:
            assert found == [("0.0.0.0", port)]
    assert f"[::1]:{port} is taken" in caplog.text


def test_a_machine_without_ipv6(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket

    def make(family: int = socket.AF_INET, *arguments: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *arguments)

    monkeypatch.setattr(socket, "socket", make)
    with caplog.at_level(logging.DEBUG, "gateway.listeners"), listening(port=0) as found:
        assert [address for address, _ in found] == ["0.0.0.0"]
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("", ""),
    ],
)
def test_a_mapped_address_is_the_one_of_ipv4(address: str, plain: str) -> None:
    assert unmapped(address) == plain


@needs_ipv6
@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
def test_every_loopback_manages_and_is_one_client(start_service: StartService, bind: str) -> None:
    service: Service = start_service(BIND=bind, MANAGEMENT_KEY="", LOCAL_MANAGEMENT="true")
    for host in ("127.0.0.1", "[::1]", "localhost"):
        reply = requests.get(f"http://{host}:{service.port}/models", timeout=PATIENCE)
        assert reply.status_code == 200, (host, reply.text)
    clients = [
        record["httpRequest"]["remoteIp"] for record in service.records() if "httpRequest" in record
    ]
    assert set(clients) == {"127.0.0.1", "::1"}

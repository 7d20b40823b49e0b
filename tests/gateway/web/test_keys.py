"""Who gets in."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from gateway.errors import Forbidden, Unauthorized
from gateway.settings import Settings
from gateway.web.auth import Guard, is_plainly_local, neighbourhood
from tests.gateway.conftest import MANAGEMENT_KEY, Service, StartService, wait_until
from tests.patience import PATIENCE

ROUTES = [
    ("POST", "/v1/completions"),
    ("POST", "/generate"),
    ("POST", "/predictions/gpt2"),
    ("POST", "/v1/tokenize"),
    ("GET", "/v1/models"),
]


@pytest.fixture(scope="module")
def locked(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    file: Path = tmp_path_factory.mktemp("secrets") / "keys"
    file.write_text("# made by hand\nbob:bob-secret\n")
    return start_service(API_KEYS="alice:alice-secret", API_KEYS_FILE=str(file))


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": MANAGEMENT_KEY}]
)
def test_without_a_right_key_inference_is_closed(
    locked: Service, method: str, path: str, headers: dict[str, str]
) -> None:
    reply = requests.request(method, locked.url + path, headers=headers, json={}, timeout=PATIENCE)
    assert reply.status_code == 401
    assert reply.json()["error"]["type"] == "authentication_error"
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer alice-secret"},
        {"authorization": "bearer bob-secret"},
        {"x-api-key": "bob-secret"},
    ],
)
def test_a_right_key_opens_and_its_name_is_logged(locked: Service, headers: dict[str, str]) -> None:
    reply = locked.post("/generate", json={"input": "A dog"}, headers=headers)
    assert reply.status_code == 200
    name = "alice" if "alice" in str(headers) else "bob"
    wait_until(lambda: any(r.get("key") == name for r in locked.records()))


def test_no_key_is_ever_logged(locked: Service) -> None:
    locked.get("/v1/models?key=alice-secret", headers={"x-api-key": "alice-secret"})
    locked.get("/v1/models", headers={"x-api-key": "nearly-a-secret"})

    def statuses() -> set[int]:
        seen = [record.get("httpRequest", {}) for record in locked.records()]
        return {line["status"] for line in seen if line.get("requestUrl") == "/v1/models"}

    wait_until(lambda: statuses() >= {200, 401})
    assert "secret" not in "\n".join(locked.log)


def test_page_and_health_need_no_key(locked: Service) -> None:
    for path in ("/", "/health/live", "/health/ready", "/openapi.json", "/docs"):
        assert locked.get(path).status_code == 200


def test_management_takes_its_own_key_only(locked: Service) -> None:
    assert locked.manage("GET", "/models").status_code == 200
    assert locked.get("/models").status_code == 401
    assert locked.get("/models", headers={"x-api-key": "alice-secret"}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer a-token-of-the-platform", "x-api-key": "alice-secret"},
        {"authorization": "Bearer alice-secret", "x-api-key": "something-else"},
    ],
)
def test_a_right_key_in_either_header_opens(locked: Service, headers: dict[str, str]) -> None:
    assert locked.get("/v1/models", headers=headers).status_code == 200


@pytest.fixture(scope="module")
def counting(start_service: StartService) -> Service:
    keys = "alice:alice-secret,bob:bob-secret,carol:carol-secret"
    return start_service(API_KEYS=keys, REQUESTS_PER_MINUTE="3", TRUSTED_PROXY_HOPS="1")


def test_requests_a_minute_are_counted_for_each_key(counting: Service) -> None:
    def ask(key: str, address: str) -> int:
        headers = {"x-api-key": key, "x-forwarded-for": address}
        return counting.get("/v1/models", headers=headers).status_code

    addresses = [f"3.3.3.{number}" for number in range(4)]
    assert [ask("bob-secret", address) for address in addresses] == [200, 200, 200, 429]
    assert [ask("carol-secret", addresses[0]) for _ in range(4)] == [200, 200, 200, 429]


def test_wrong_keys_are_counted_for_each_address_and_their_lines_name_it(
    counting: Service,
) -> None:
    def ask(key: str, address: str, path: str = "/v1/models") -> requests.Response:
        return counting.get(path, headers={"x-api-key": key, "x-forwarded-for": address})

    tried = [ask(f"guess-{number}", "1.1.1.1") for number in range(5)]
    assert [reply.status_code for reply in tried] == [401, 401, 401, 429, 429]
    assert 1 <= int(tried[-1].headers["retry-after"]) <= 60
    assert ask("guess", "1.1.1.1", "/models").status_code == 429
    described = counting.get("/openapi.json").json()["paths"]
    for path in ("/models", "/metrics"):
        assert "Retry-After" in described[path]["get"]["responses"]["429"]["headers"]
    # Who has the right key is not locked out by a neighbour who guesses.
    assert ask("alice-secret", "1.1.1.1").status_code == 200
    assert ask("alice-secret", "2.2.2.2").status_code == 200
    refused = [r for r in counting.records() if r.get("httpRequest", {}).get("status") == 401]
    assert {record["httpRequest"]["remoteIp"] for record in refused} == {"1.1.1.1"}


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("", ""),
    ],
)
def test_an_ipv6_client_is_its_whole_network(address: str, counted: str) -> None:
    assert neighbourhood(address) == counted


LOCAL = {"host": "localhost:8080"}


@pytest.mark.parametrize(
    ("headers", "peer", "is_local"),
    [
        (LOCAL, "127.0.0.1", True),
        ({"host": "127.0.0.1"}, "127.0.0.1", True),
        ({"host": "[::1]:8080"}, "::1", True),
        (LOCAL | {"sec-fetch-site": "none"}, "127.0.0.1", True),
        (LOCAL, "192.168.1.5", False),
        ({"host": "rebound.example"}, "127.0.0.1", False),
        ({"host": "localhost.example"}, "127.0.0.1", False),
        ({}, "127.0.0.1", False),
        (LOCAL | {"origin": "http://localhost:8080"}, "127.0.0.1", False),
        (LOCAL | {"sec-fetch-site": "cross-site"}, "127.0.0.1", False),
        (LOCAL | {"x-forwarded-for": "127.0.0.1"}, "127.0.0.1", False),
        ({"host": "[::1"}, "127.0.0.1", False),
    ],
)
def test_only_this_machines_own_programs_are_local(
    headers: dict[str, str], peer: str, is_local: bool
) -> None:
    assert is_plainly_local(headers, peer) is is_local


def test_management_is_closed_without_a_key() -> None:
    with pytest.raises(Forbidden):
        Guard(Settings()).for_management(LOCAL, "127.0.0.1")
    assert Guard(Settings(local_management=True)).for_management(LOCAL, "127.0.0.1") == "local"
    keyed = Guard(Settings(local_management=True, management_key="m"))
    with pytest.raises(Unauthorized):
        keyed.for_management(LOCAL, "127.0.0.1")


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "1.1.1.1", "9.9.9.9"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (1, "", "9.9.9.9"),
        (1, "nonsense", "9.9.9.9"),
        (3, "1.1.1.1", "9.9.9.9"),
    ],
)
def test_the_clients_address_comes_from_the_trusted_hop_only(
    hops: int, forwarded: str, address: str
) -> None:
    guard = Guard(Settings(trusted_proxy_hops=hops))
    assert guard.client_address({"x-forwarded-for": forwarded}, "9.9.9.9") == address

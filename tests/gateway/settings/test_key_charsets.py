"""Keys beyond ASCII open what they are for; one that no header can carry ends the start."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import aiohttp
import pytest
import requests

from gateway.settings import SettingsError, load
from gpt2_client import Client, Unauthorized
from tests.gateway.conftest import Service, StartService, wait_until
from tests.patience import PATIENCE

# Some end, in UTF-8, in a byte that Latin-1 calls a blank (à, Å), or hold what Unicode calls the
# end of a line.
KEYS = {
    "rené": "geheim-é",
    "blank": "voilà",
    "line": "Å",
    "no-break": "key\u00a0",
    "separator": "a\u2028b",
    "beyond": "ключ-鍵-\U0001f511",
    "colon": "a:b:c",
    "inner": "two words; \"quoted\" = 'yes'",
}
MANAGEMENT = "Verwaltung-ü-鍵"
LATIN = {name: key for name, key in KEYS.items() if key.isprintable() and ord(max(key)) < 256}


@pytest.fixture(scope="module")
def locked(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    file: Path = tmp_path_factory.mktemp("secrets") / "keys"
    lines = [f"{name}:{key}" for name, key in KEYS.items()]
    file.write_bytes("\r\n".join(lines).encode("utf-8-sig"))  # as Windows writes it
    return start_service(API_KEYS="own:clé", API_KEYS_FILE=str(file), MANAGEMENT_KEY=MANAGEMENT)


def status(service: Service, headers: dict[str, bytes], path: str = "/v1/models") -> int:
    return requests.get(service.url + path, headers=headers, timeout=PATIENCE).status_code


async def asked_by_aiohttp(service: Service, key: str) -> int:
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session,
        session.get(f"{service.url}/v1/models") as reply,
    ):
        return reply.status


@pytest.mark.parametrize(("name", "key"), KEYS.items(), ids=KEYS)
def test_utf8_opens_in_either_header(locked: Service, name: str, key: str) -> None:
    assert status(locked, {"authorization": b"Bearer " + key.encode()}) == 200
    assert status(locked, {"x-api-key": key.encode()}) == 200
    wait_until(lambda: any(record.get("key") == name for record in locked.records()))


@pytest.mark.parametrize("key", LATIN.values(), ids=LATIN)
def test_what_is_no_utf8_is_latin_1(locked: Service, key: str) -> None:
    assert status(locked, {"x-api-key": key.encode("latin-1")}) == 200


def test_keys_that_are_nearly_right_stay_out(locked: Service) -> None:
    for key in KEYS.values():
        twice = key.encode().decode("latin-1").encode()  # UTF-8 taken for Latin-1, encoded again
        wrong = [key[:-1], key + "x", key.swapcase()] + ([] if key.isascii() else [twice.decode()])
        for each in wrong:
            assert status(locked, {"x-api-key": each.encode()}) == 401, each
    assert status(locked, {"x-api-key": "geheim-e\u0301".encode()}) == 401  # another text


def test_management_as_well(locked: Service) -> None:
    assert status(locked, {"authorization": b"Bearer " + MANAGEMENT.encode()}, "/models") == 200
    assert status(locked, {"x-api-key": KEYS["beyond"].encode()}, "/models") == 401


@pytest.mark.parametrize("key", [*KEYS.values(), "clé"], ids=[*KEYS, "own"])
def test_clients_send_them(locked: Service, key: str) -> None:
    with Client(locked.url, api_key=key, management_key=MANAGEMENT) as client:
        assert client.models() and client.describe()
    curl = ["curl", "-s", "-H", f"x-api-key: {key}", f"{locked.url}/v1/models"]
    assert (
        b'"object"'
        in subprocess.run(curl, capture_output=True, check=True, timeout=PATIENCE).stdout
    )
    assert asyncio.run(asked_by_aiohttp(locked, key)) == 200
    if key in LATIN.values():
        sent = requests.get(f"{locked.url}/v1/models", headers={"x-api-key": key}, timeout=PATIENCE)
        assert sent.status_code == 200


def test_our_client_refuses_what_no_header_can_carry(locked: Service) -> None:
    for key in ("two\nlines", " blank", "blank ", "nul\x00", "\x7f"):
        with pytest.raises(ValueError, match="no header can carry it"):
            Client(locked.url, api_key=key)
    with Client(locked.url, api_key="wrong-é") as client, pytest.raises(Unauthorized):
        client.models()


@pytest.mark.parametrize(
    "given",
    [
        {"API_KEYS": "alice:5ecret\n5ecret"},
        {"API_KEYS": "alice: 5ecret"},
        {"API_KEYS": "alice:5ecret\t5ecret"},
        {"API_KEYS": "alice:5ecret\x7f"},
        {"API_KEYS": "alice:\x1b[31m5ecret"},
        {"API_KEYS": "al\x00ice:5ecret"},
        {"API_KEYS": "alice:\udce9"},  # an environment that is not UTF-8
        {"API_KEYS": "alice:" + "5ecret" * 2000},
        {"MANAGEMENT_KEY": "5ecret\r\n5ecret"},
        {"MANAGEMENT_KEY": "nul\x00"},
        {"MANAGEMENT_KEY": "\udce9"},
    ],
)
def test_a_key_that_no_header_can_carry_ends_the_start(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="KEY") as fault:
        load(given)
    assert next(iter(given)) in str(fault.value) and "5ecret" not in str(fault.value)


@pytest.mark.parametrize(
    "content", [b"alice:k\xe9y\n", b"alice:one,bob:two\n", b"alice:k\x00\n", b"alice:k\x0bk\n"]
)
def test_so_does_one_in_a_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="API_KEYS"):
        load({"API_KEYS_FILE": str(file)})
    file.write_bytes(content.partition(b":")[2])
    if b"," not in content:
        with pytest.raises(SettingsError, match="MANAGEMENT_KEY"):
            load({"MANAGEMENT_KEY_FILE": str(file)})


def test_blanks_around_a_setting_are_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes("\ufeff geheim-é \r\n".encode())
    assert load({"MANAGEMENT_KEY_FILE": str(file)}).management_key == "geheim-é"
    assert load({"MANAGEMENT_KEY": " k\u00a0\n"}).management_key == "k\u00a0"

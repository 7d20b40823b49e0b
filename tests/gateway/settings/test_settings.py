"""Settings: where they come from and what is said of bad ones."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.settings import ROOT, Settings, SettingsError, load, table


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('# a comment\nPORT=1234\nN_TOKENS=7\nHOST="http://page.example"\n')
    settings = load({"PORT": "4321"}, folder=tmp_path)
    assert (settings.port, settings.n_tokens) == (4321, 7)
    assert settings.host == "http://page.example"


def test_the_committed_file_is_valid_and_holds_no_secret() -> None:
    settings = load({})
    assert settings.route_generate == "/generate" and settings.n_tokens == 20
    assert not settings.api_keys and not settings.management_key


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "70000", "from 0 to 65535"),
        ("PORT", "1.5", "a whole number"),
        ("DRAIN_SECONDS", "-1", "from 0"),
        ("MAX_BODIES_BYTES", "2000", "at least MAX_BODY_BYTES"),
        ("DRAIN_SECONDS", "nan", "a number"),
        ("LOCAL_MANAGEMENT", "maybe", "true or false"),
        ("ROUTE_GENERATE", "/", "a path like /generate"),
        ("ROUTE_GENERATE", "/v1/completions", "is taken"),
        ("HOST", "0.0.0.0", "public URL .* BIND is the address to listen on"),
        ("HOST", "127.0.0.1:8080", "public URL .* BIND"),
        ("HOST", "[::]:8080", "public URL .* BIND"),
        ("HOST", "localhost", "public URL .* BIND"),
        ("HOST", "http://", "public URL"),
        ("HOST", "https://page.example:port", "public URL"),
        ("HOST", "https://me:secret@page.example", "public URL"),
        ("LOG_FORMAT", "xml", "auto, json, text"),
        ("API_KEYS", ",", "`name:key`, separated by commas"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as fault:
        load({name: value})
    assert name in str(fault.value)


@pytest.mark.parametrize("held", ["", "\n \n", "# to be filled in\n  # bob:bob-secret\n"])
def test_a_file_that_holds_no_key_does_not_open_what_it_was_to_close(
    tmp_path: Path, held: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(held)
    for given in ({}, {"API_KEYS": "alice:alice-secret"}):
        with pytest.raises(SettingsError, match="API_KEYS_FILE must contain `name:key`"):
            load({"API_KEYS_FILE": str(file)} | given)
    file.write_text(held + "\nbob:bob-secret\n")
    assert load({"API_KEYS_FILE": str(file)}).api_keys == ("bob:bob-secret",)


@pytest.mark.parametrize(
    ("host", "url", "origin"),
    [
        ("http://localhost:8080/", None, None),
        ("https://Page.example/", "https://Page.example", "https://page.example"),
        ("https://page.example:443", "https://page.example:443", "https://page.example"),
        ("http://page.example:81/tales", "http://page.example:81/tales", "http://page.example:81"),
    ],
)
def test_the_public_origin_is_what_a_browser_makes_of_host(
    host: str, url: str | None, origin: str | None
) -> None:
    settings = load({"HOST": host})
    assert (settings.public_url, settings.public_origin) == (url, origin)


def test_a_route_may_be_given_without_its_slash() -> None:
    assert load({"ROUTE_GENERATE": "write"}).route_generate == "/write"


def test_cloud_run_gets_json() -> None:
    assert load({"K_SERVICE": "x"}).writes_json_logs
    assert not load({"K_SERVICE": "x", "LOG_FORMAT": "text"}).writes_json_logs
    assert not Settings().writes_json_logs


@pytest.mark.parametrize(
    ("environment", "as_json"),
    [
        ({"K_SERVICE": "gpt2"}, True),
        ({}, False),
        ({"K_SERVICE": "gpt2", "LOG_FORMAT": "text"}, False),
    ],
    ids=["cloud-run", "elsewhere", "cloud-run-as-text"],
)
def test_a_wrong_setting_is_told_in_the_shape_of_a_log_line(
    environment: dict[str, str],
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("K_SERVICE", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (environment | {"PORT": "http"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["gateway"])
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        assert main() == 1
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    [line] = capsys.readouterr().err.splitlines()
    if as_json:
        told = json.loads(line)
        assert told["severity"] == "ERROR" and "PORT" in told["message"]
    else:
        assert line.startswith("gateway: ") and "PORT" in line


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({"AIP_HTTP_PORT": "9000"}, 9000),
        ({"AIP_HTTP_PORT": "9000", "PORT": "9001"}, 9001),
        ({}, 8080),
    ],
)
def test_vertex_ai_s_port_is_taken_where_port_is_not_set(
    given: dict[str, str], port: int, tmp_path: Path
) -> None:
    assert load(given, folder=tmp_path).port == port


@pytest.mark.parametrize("path", ["/a{b}", "/a?b", "/a b", "/\u00e9"])
def test_a_route_that_is_no_path_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AIP_PREDICT_ROUTE"):
        load({"AIP_PREDICT_ROUTE": path}, folder=tmp_path)


def test_the_documented_table_is_the_real_one() -> None:
    text = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    assert table() in text, "run: python -m gateway --settings"

"""Settings: where they come from and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import ROOT, Settings, SettingsError, load, table


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('# a comment\nPORT=1234\nN_TOKENS=7\nHOST="http://page.example"\n')
    settings = load({"PORT": "4321"}, env_file=file)
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
        ("HOST", "0.0.0.0", "public URL"),
        ("LOG_FORMAT", "xml", "auto, json, text"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as fault:
        load({name: value})
    assert name in str(fault.value)


def test_a_route_may_be_given_without_its_slash() -> None:
    assert load({"ROUTE_GENERATE": "write"}).route_generate == "/write"


def test_cloud_run_gets_json() -> None:
    assert load({"K_SERVICE": "x"}).writes_json_logs
    assert not load({"K_SERVICE": "x", "LOG_FORMAT": "text"}).writes_json_logs
    assert not Settings().writes_json_logs


def test_the_documented_table_is_the_real_one() -> None:
    text = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    assert table() in text, "run: python -m gateway --settings"

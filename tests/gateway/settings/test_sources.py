"""What counts of the environment and the files, and what a user is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, load

# One letter from a key's name at most, or with it inside, and other programs' own.
OTHERS = """
OPENAI_API_KEY XYZ_API_KEY X_API_KEY AWS_API_KEYS APP_KEY APP_KEYS GAPI_KEY
API_KEY_1 API_KEY_ID API_KEY_PATH API_TOKEN API_URL SSH_KEY KEYS
"""


@pytest.fixture
def told() -> list[str]:
    return []


def test_the_environment_over_the_untracked_file_over_the_tracked_one(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nN_TOKENS=1\nMAX_WAITING=1\n")
    (tmp_path / ".env.local").write_text("N_TOKENS=2\nMAX_WAITING=2\n")
    settings = load({"MAX_WAITING": "3"}, folder=tmp_path)
    assert (settings.port, settings.n_tokens, settings.max_waiting) == (1, 2, 3)


def test_an_empty_value_of_the_environment_is_the_default(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("N_TOKENS=7\n")
    assert load({"N_TOKENS": ""}, folder=tmp_path).n_tokens == Settings().n_tokens


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "x86_64-conda-linux-gnu"),  # conda's compilers
        ("HOST", "arm64-apple-darwin20.0.0"),
        ("HOST", "build-box"),  # tcsh
        ("HOST", "build-box.corp.example"),
        ("HOST", "tcp://10.96.0.7:80"),
        ("METRICS_PORT", "tcp://10.96.0.5:9090"),  # Kubernetes: a Service called metrics
        ("INFERENCE_PORT", "udp://10.96.0.5:53"),
        ("MANAGEMENT_PORT", "tcp://[fd00::1]:8081"),
        ("PORT", "tcp://10.96.0.7:80"),
        ("MODEL_STORE", "tcp://10.96.0.7:80"),
    ],
)
def test_a_value_that_can_not_be_meant_for_us_is_passed_over_in_one_line(
    tmp_path: Path, told: list[str], name: str, value: str
) -> None:
    kept = {"PORT": "4321", "HOST": "http://page.example"}
    (tmp_path / ".env").write_text("".join(f"{name}={text}\n" for name, text in kept.items()))
    settings = load({name: value}, folder=tmp_path, report=told.append)
    assert settings == load({}, folder=tmp_path) and settings.port == 4321
    [line] = told
    assert line.startswith(f"{name}={value} belongs to another program")
    assert ("BIND is the address to listen on" in line) == (name == "HOST")


def test_no_password_of_a_foreign_value_is_shown(tmp_path: Path, told: list[str]) -> None:
    load({"REDIS_URL": "tcp://me:secret@redis:6379"}, folder=tmp_path, report=told.append)
    assert len(told) == 1 and "secret" not in told[0]


def test_what_others_have_besides_is_nothing_to_tell(tmp_path: Path, told: list[str]) -> None:
    others = {
        "GPT2_PORT": "tcp://10.96.0.5:80",
        "GPT2_PORT_80_TCP": "tcp://10.96.0.5:80",
        "GPT2_SERVICE_HOST": "10.96.0.5",
        "GPT2_URL": "http://localhost:8080",
        "GPT2_API_KEY": "secret",
        "GPT2_MANAGEMENT_KEY": "secret",
        **dict.fromkeys(OTHERS.split(), "secret"),
    }
    load(others, folder=tmp_path, report=told.append)
    assert told == []


def test_a_wrong_value_in_a_file_is_meant_for_us(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HOST=page.example\n")
    with pytest.raises(SettingsError, match="HOST is the page's public URL"):
        load({}, folder=tmp_path)


@pytest.mark.parametrize(
    ("value", "port"), [('"8081"', 8081), ("'8081'", 8081), ("8081 # the port", 8081)]
)
def test_what_docker_hands_on_of_a_file_is_taken(tmp_path: Path, value: str, port: int) -> None:
    assert load({"PORT": value}, folder=tmp_path).port == port


def test_quotes_around_a_key_are_not_the_keys_but_what_is_in_it_stays(tmp_path: Path) -> None:
    given = {"API_KEYS": '"alice:a"', "MANAGEMENT_KEY": "a # b"}
    settings = load(given, folder=tmp_path)
    assert settings.api_keys == ("alice:a",) and settings.management_key == "a # b"


# Names


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("PROT=1234", "PROT is not a setting; did you mean PORT?"),
        ("port=1234", "port is not a setting; did you mean PORT?"),
        ("MAX_WAIT=5", "MAX_WAIT is not a setting; did you mean MAX_WAITING?"),
        ("XYZZY=5", "XYZZY is not a setting; python -m gateway --settings lists them"),
        ("APP_KEY=5", "APP_KEY is not a setting"),
        ("PORT", "PORT has no = and sets nothing"),
    ],
)
@pytest.mark.parametrize("file", [".env", ".env.local"])
def test_an_unknown_name_in_a_file_is_told_with_the_nearest(
    tmp_path: Path, told: list[str], file: str, line: str, words: str
) -> None:
    (tmp_path / file).write_text(line + "\n")
    assert load({}, folder=tmp_path, report=told.append) == Settings()
    assert len(told) == 1 and told[0].startswith(f"{file}: {words}")


def test_names_of_the_client_in_a_file_are_known(tmp_path: Path, told: list[str]) -> None:
    (tmp_path / ".env.local").write_text("GPT2_URL=http://a\nGPT2_API_KEY=a\nAPI_KEYS=me:a\n")
    load({}, folder=tmp_path, report=told.append)
    assert told == []


SLIPS = """
API_KEYS: API_KEY APIKEYS APIKEY api_keys Api-Keys API_KYES AIP_KEYS AP_KEYS APII_KEYS API_KEYZ
API_KEYS: API__KEYS GPT2_API_KEYS
API_KEYS_FILE: API_KEY_FILE API_KEYS_FILES API_KEY_FILES API_KEYFILE API_KEYS_FIEL APIKEYSFILE
MANAGEMENT_KEY: MANAGMENT_KEY MANAGEMENT_KEYS MANAGMENT_KEYS MANAGEMENTKEY management_key
MANAGEMENT_KEY: MANGEMENT_KEY MANAGEMENT_KYE
MANAGEMENT_KEY_FILE: MANAGEMENT_KEYS_FILE MANAGEMENT_KEY_FILES MANAGMENT_KEY_FILE
"""
SLIPS_AND_KEYS = [
    (slip, key)
    for key, _, slips in (line.partition(": ") for line in SLIPS.strip().splitlines())
    for slip in slips.split()
]


@pytest.mark.parametrize(("slip", "key"), SLIPS_AND_KEYS)
def test_a_name_one_slip_from_a_keys_ends_the_start(tmp_path: Path, slip: str, key: str) -> None:
    with pytest.raises(
        SettingsError, match=f"{slip} in the environment .* did you mean {key}\\?"
    ) as fault:
        load({slip: "alice:secret"}, folder=tmp_path)
    assert "secret" not in str(fault.value)
    (tmp_path / ".env.local").write_text(f"{slip}=alice:secret\n")
    with pytest.raises(SettingsError, match=f"{slip} in .env.local .* did you mean {key}\\?"):
        load({}, folder=tmp_path)


@pytest.mark.parametrize("name", ["API_KEYS", "MANAGEMENT_KEY", "GPT2_API_KEY"])
def test_a_key_in_the_tracked_file_is_told(tmp_path: Path, told: list[str], name: str) -> None:
    (tmp_path / ".env").write_text(f"{name}=alice:secret\n")
    load({}, folder=tmp_path, report=told.append)
    assert told == [f".env is tracked by git: {name} belongs in .env.local, which is not"]


def test_an_empty_key_in_the_tracked_file_is_none(tmp_path: Path, told: list[str]) -> None:
    (tmp_path / ".env").write_text("API_KEYS=\nMANAGEMENT_KEY=''\n")
    load({}, folder=tmp_path, report=told.append)
    assert told == []

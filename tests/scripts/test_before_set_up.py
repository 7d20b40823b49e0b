"""What a user is told at once, before anything is installed."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.scripts.conftest import Checkout


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield str(taken.getsockname()[1])


def refused(checkout: Checkout, ended: subprocess.CompletedProcess[str]) -> str:
    """Return the one line it ended with; nothing was installed, packed or started."""
    assert ended.returncode not in (0, 126, 127)
    assert ended.stderr.count("\n") == 1 and ended.stdout == ""
    assert not checkout.asked and not (checkout.root / ".venv").exists()
    return ended.stderr


def test_help_has_examples(checkout: Checkout) -> None:
    ended = checkout.serve("--help")
    assert ended.returncode == 0 and ended.stderr == ""
    assert "usage: ./scripts/serve " in ended.stdout
    assert "./scripts/serve --model openai-community/gpt2" in ended.stdout
    assert not checkout.asked and not (checkout.root / ".venv").exists()


def test_an_unknown_option(checkout: Checkout) -> None:
    line = refused(checkout, checkout.serve("--prot", "9000"))
    assert line == "error: unrecognized arguments: --prot 9000 (see --help)\n"


def test_an_old_python(checkout: Checkout) -> None:
    (checkout.tools / "python3.11").unlink()
    old = '#!/usr/bin/env bash\n[ "$1" = --version ] && echo Python 3.9.2\n'
    checkout.has_python("python3", old)
    line = refused(checkout, checkout.serve())
    assert "Python 3.11 or newer is needed" in line and "Python 3.9.2" in line


def test_no_python(checkout: Checkout) -> None:
    (checkout.tools / "python3.11").unlink()
    line = refused(checkout, checkout.serve())
    assert "Python 3.11 or newer is needed" in line and "missing" in line


def test_an_archive_that_is_not_there(checkout: Checkout) -> None:
    line = refused(checkout, checkout.serve("--model", "model_store/mine.mar"))
    assert "there is no archive model_store/mine.mar; ./scripts/package_model makes one" in line


@pytest.mark.parametrize("port", ["many", "0", "65536", "-1", "80.5", "99999999999999999999"])
def test_a_port_that_is_none(checkout: Checkout, port: str) -> None:
    line = refused(checkout, checkout.serve(f"--port={port}"))
    assert line == (
        "error: argument --port: it must be a whole number from 1 to 65535, "
        f"not '{port}' (see --help)\n"
    )


@pytest.mark.parametrize("arguments", [["--port"], ["--port", ""], ["--port="]])
def test_no_port_after_the_option(checkout: Checkout, arguments: list[str]) -> None:
    assert "argument --port: " in refused(checkout, checkout.serve(*arguments))


def test_a_bad_port_in_the_environment(checkout: Checkout) -> None:
    line = refused(checkout, checkout.serve(PORT="many"))
    assert line == "error: PORT must be a whole number from 0 to 65535, not 'many'\n"


@pytest.mark.parametrize("given", ["--port", "environment", ".env"])
def test_a_port_in_use(checkout: Checkout, taken_port: str, given: str) -> None:
    if given == "--port":
        ended = checkout.serve("--port", taken_port, PORT=str(checkout.port))
    elif given == "environment":
        ended = checkout.serve(PORT=taken_port)
    else:
        (checkout.root / ".env").write_text(f"PORT={taken_port}\n")
        ended = checkout.serve()
    line = refused(checkout, ended)
    assert f"cannot listen on 0.0.0.0:{taken_port}: Address already in use" in line


def test_a_free_port_in_place_of_one_in_use(checkout: Checkout, taken_port: str) -> None:
    ended = checkout.serve("--port", str(checkout.port), PORT=taken_port)
    assert ended.returncode == 0 and checkout.asked[-1] == "gateway"


WHOLE, NUMBER = "a whole number", "a number"


@pytest.mark.parametrize(
    ("script", "option", "what"),
    [
        ("train_model", "--steps", f"{WHOLE} above 0"),
        ("train_model", "--seed", f"{WHOLE} from 0 on"),
        ("train_model", "--learning-rate", f"{NUMBER} above 0"),
        ("train_model", "--dropout", f"{NUMBER} from 0 to below 1"),
        ("bench", "--rounds", WHOLE),
        ("soak", "--seed", WHOLE),
        ("deploy", "--max-instances", WHOLE),
    ],
)
@pytest.mark.parametrize("given", ["many", "1e", "", "0x10", "nan-1"])
def test_what_is_no_number(
    checkout: Checkout, script: str, option: str, what: str, given: str
) -> None:
    checkout.has_rooms("training", "bench", "soak", "deploy")
    ended = checkout.run(script, f"{option}={given}")
    assert f"argument {option}: '{given}' is not {what} (see --help)" in refused(checkout, ended)


@pytest.mark.parametrize("name", ["nofile.txt", "no/such/folder", "no*.md"])
def test_a_text_that_is_not_there(checkout: Checkout, name: str) -> None:
    checkout.has_rooms("training")
    line = refused(checkout, checkout.run("train_model", "--text", "pyproject.toml", name))
    assert line.startswith("error: no text: ") and name in line

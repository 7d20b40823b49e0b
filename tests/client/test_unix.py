"""The command line between other programs: closed, broken and full ends, odd bytes and networks."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from gpt2_client import Client
from gpt2_client.address import is_loopback
from gpt2_client.cli.settings import gather
from tests.client.command import ENVIRONMENT, GPT2, run
from tests.client.scripted_server import COMPLETION, END, USAGE, Answer, chunk, scripted
from tests.patience import PATIENCE

STREAM = Answer(pieces=[chunk(" once"), chunk(" more", finish="length"), USAGE, END])


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash, in which `gpt2` is the command."""
    lines = f'set -o pipefail; gpt2() {{ {" ".join(GPT2)} "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", lines], env=ENVIRONMENT | environment, capture_output=True, timeout=PATIENCE
    )


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ("<&-", 0, ""),
        (">&-", 1, "cannot write to standard output: Bad file descriptor"),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 1, ""),
        (">/dev/full", 1, "cannot write to standard output: No space left on device"),
        ("2>/dev/full", 0, ""),
        ("| true", 141, ""),
    ],
)
def test_an_end_that_is_closed_broken_or_full_is_told_in_a_line(
    ends: str, code: int, said: str
) -> None:
    with scripted(STREAM) as server:
        done = shell(f"gpt2 --url {server.url} generate Hello {ends}")
    assert done.returncode == code
    lines = [line for line in done.stderr.decode().splitlines() if "ended by" not in line]
    assert lines == ([f"gpt2: {said}"] if said else [])


@pytest.mark.parametrize("words", ["--help", "--version", "manual", "completion bash"])
def test_what_needs_no_server_keeps_the_same_rules(words: str) -> None:
    assert shell(f"gpt2 {words} | true").returncode in (0, 141)  # it may have been done before
    full = shell(f"gpt2 {words} >/dev/full")
    assert full.returncode == 1
    assert full.stderr.decode() == (
        "gpt2: cannot write to standard output: No space left on device\n"
    )


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("gpt2 generate - <&-", 2, "cannot read standard input: Bad file descriptor"),
        ("gpt2 repl <&-", 2, "cannot read standard input: Bad file descriptor"),
        ("gpt2 repl </dev/null", 0, ""),
        (r"printf 'One\ncaf\xe9 noir' | gpt2 generate -", 2, "byte 0xE9 at position 7 (line 2)"),
        (r"printf 'caf\xe9 noir\n' | gpt2 repl", 2, "byte 0xE9 at position 3 (line 1)"),
        (r"printf '\xff\xfeA\x00' | gpt2 generate -", 2, "as with `iconv -f UTF-16 -t UTF-8`"),
        (r"gpt2 generate $'caf\xe9'", 2, "the prompt is not UTF-8: byte 0xE9 at position 3"),
    ],
)
def test_input_that_is_none_is_told_with_its_place(command: str, code: int, said: str) -> None:
    done = shell(command, GPT2_URL="http://127.0.0.1:9")
    words = done.stderr.decode()
    assert done.returncode == code
    assert said in words and "Traceback" not in words


def test_a_byte_order_mark_is_no_part_of_a_prompt() -> None:
    with scripted(STREAM) as server:
        done = shell(rf"printf '\xef\xbb\xbfHello' | gpt2 --url {server.url} generate -")
    assert done.returncode == 0
    assert server.asked[0].body["prompt"] == "Hello"


def test_a_terminal_of_another_charset_gets_what_it_can_show() -> None:
    owl = Answer(pieces=[chunk(" naïve 🦉", finish="stop"), USAGE, END])
    with scripted(owl, owl) as server:
        environment = {"PYTHONIOENCODING": "latin-1:strict"}
        done = shell(f"gpt2 --url {server.url} generate Hello", **environment)
        assert done.stdout == " naïve ?\n".encode("latin-1")
        as_json = shell(f"gpt2 --url {server.url} generate Hello --json", **environment)
        assert "🦉".encode() in as_json.stdout


def test_a_dead_proxy_is_named_without_its_password() -> None:
    with scripted() as server:
        dead = server.url
    proxy = dead.replace("//", "//me:secret@")
    done = run("http://gpt2.example", "--retries", "0", "generate", "Hello", http_proxy=proxy)
    assert done.returncode == 3
    assert f"{dead} (http_proxy)" in done.stderr
    assert "secret" not in done.stderr


def test_what_a_proxy_says_is_not_taken_for_the_service() -> None:
    with scripted(Answer(403, "go away")) as proxy:
        done = run("http://gpt2.example", "generate", "Hello", http_proxy=proxy.url)
    assert proxy.url in done.stderr and "403" in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_never_asked_through_a_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as dead:
        proxy = dead.url
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    with (
        scripted(Answer(200, COMPLETION)) as server,
        Client(server.url.replace("127.0.0.1", host)) as client,
    ):
        assert client.generate("Hello").text == " there"


def test_which_addresses_are_loopback() -> None:
    ours = ["http://127.9.9.9:1", "http://[::1]:80", "http://localhost.", "http://a.localhost/x"]
    assert all(map(is_loopback, ours))
    others = ["http://localhost.example", "http://128.0.0.1", "http://127.0.0.1.example"]
    assert not any(map(is_loopback, others))


@pytest.mark.parametrize(
    "end", ["", "/", "/v1", "/v1/", " ", "\r", "/v1/completions", "/v1/chat/completions/ "]
)
def test_an_address_may_end_as_openais_clients_want_it(end: str) -> None:
    with scripted(Answer(200, COMPLETION)) as server, Client(server.url + end) as client:
        client.generate("Hello")
    assert server.asked[0].path == "/v1/completions"


def test_settings_come_from_the_environment_over_the_checkouts_files(tmp_path: Path) -> None:
    with scripted(*[STREAM] * 3) as server:
        port = server.url.rpartition(":")[2]
        (tmp_path / ".env").write_text(f"\ufeffexport PORT='{port}' # the one\nGPT2_API_KEY=no\n")
        (tmp_path / ".env.local").write_text("GPT2_API_KEY=from-file\n")
        away = {"GPT2_ENV_DIR": str(tmp_path)}
        assert shell("gpt2 generate Hello", **away).returncode == 0
        assert shell("gpt2 generate Hello", **away, GPT2_API_KEY="mine").returncode == 0
        url = {"GPT2_URL": server.url + "/v1"}
        assert shell("gpt2 generate Hello", **(away | url), PORT="1").returncode == 0
    assert [each.headers["authorization"] for each in server.asked] == [
        "Bearer from-file",
        "Bearer mine",
        "Bearer from-file",
    ]


def test_a_folder_that_it_happens_to_run_in_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1234\nGPT2_URL=http://elsewhere.example\n")
    assert gather({"PORT": "99"})["GPT2_URL"] == "http://127.0.0.1:8080"
    folder = {"GPT2_ENV_DIR": str(tmp_path)}
    assert gather(folder | {"PORT": "tcp://10.96.0.5:9090"})["GPT2_URL"].endswith(
        "elsewhere.example"
    )


def shown_on_a_terminal(url: str, **environment: str) -> str:
    """What `gpt2 generate` writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    command = [*GPT2, "--url", url, "generate", "Hello", "--temperature", "9"]
    environment = ENVIRONMENT | {"TERM": "xterm"} | environment
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 1000):
                shown += piece
        except OSError:  # how a terminal says that nobody writes any more
            pass
    os.close(ours)
    return shown.decode()


def test_no_color_is_obeyed() -> None:
    refused = Answer(400, {"error": {"message": "too hot", "param": "temperature"}})
    with scripted(*[refused] * 3) as server:
        assert "\x1b[31m" in shown_on_a_terminal(server.url)
        assert "\x1b" not in shown_on_a_terminal(server.url, NO_COLOR="1")
        assert "\x1b" not in shown_on_a_terminal(server.url, TERM="dumb")


def test_help_is_as_wide_as_columns_say() -> None:
    for columns in (50, 100):
        for words in (["status"], []):
            shown = run("http://x", *words, "--help", COLUMNS=str(columns)).stdout
            lines = re.sub(r"examples:\n(  .*\n)*", "", shown).splitlines()  # to be pasted
            assert columns / 2 < max(map(len, lines)) <= columns

"""The command line as a person meets it: a process of its own, its words and its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading

import pytest

from tests.client.command import ENVIRONMENT, GPT2, run
from tests.client.scripted_server import COMPLETION, END, USAGE, Answer, chunk, scripted
from tests.patience import PATIENCE

STREAM = Answer(pieces=[chunk(" once"), chunk(" more", finish="length"), USAGE, END])


def test_a_text_is_shown_and_its_figures_stay_out_of_the_pipe() -> None:
    with scripted(STREAM) as server:
        done = run(server.url, "generate", "Hello", "--max-tokens", "2", "--temperature", "0")
    assert (done.returncode, done.stdout) == (0, " once more\n")
    assert "2 tokens in" in done.stderr and "ended by length" in done.stderr
    assert server.asked[0].body["temperature"] == 0


def test_json_is_one_event_a_line() -> None:
    with scripted(STREAM) as server:
        done = run(server.url, "generate", "-", "--json", text="Hello from a pipe")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["text", "text", "finish", "usage"]
    assert events[-1]["usage"]["completion_tokens"] == 2
    assert server.asked[0].body["prompt"] == "Hello from a pipe"


def test_a_whole_reply_as_json() -> None:
    with scripted(Answer(200, COMPLETION)) as server:
        done = run(server.url, "generate", "Hello", "--json", "--no-stream")
    assert json.loads(done.stdout)["choices"][0]["text"] == " there"


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(400, {"error": {"message": "too hot", "param": "temperature"}}), 1, "temperature"),
        (Answer(401, {"error": {"message": "no key"}}), 1, "GPT2_API_KEY"),
        (Answer(pieces=[chunk("a")], cut=True), 3, "broke before the text was complete"),
    ],
    ids=["refused", "no key", "cut off"],
)
def test_a_failure_is_one_clear_line_and_a_code(answer: Answer, code: int, words: str) -> None:
    with scripted(answer) as server:
        done = run(server.url, "generate", "Hello")
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_is_away_ends_with_a_code_of_its_own() -> None:
    done = run("http://127.0.0.1:9", "--retries", "0", "generate", "Hello")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


@pytest.mark.parametrize(
    "arguments",
    [["scale", "-1"], ["scale"], ["nonsense"], ["--timeout", "0", "status"], ["set-default"]],
)
def test_wrong_usage_is_told_before_anything_is_sent(arguments: list[str]) -> None:
    with scripted() as server:
        done = run(server.url, *arguments)
    assert done.returncode == 2
    assert server.asked == []


def test_scaling_bare_torchserve_is_refused_with_the_reason() -> None:
    with scripted() as server:
        done = run(server.url, "--management-url", server.url, "scale", "2")
    assert done.returncode == 1
    assert "freeze" in done.stderr


def test_ctrl_c_ends_a_text_without_a_trace() -> None:
    first = threading.Event()
    with scripted(Answer(pieces=[chunk(" once")], hold=first)) as server:
        process = subprocess.Popen(
            [*GPT2, "--url", server.url, "generate", "Hello"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 5) == b" once"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        first.set()
    assert process.returncode == 130
    assert b"Traceback" not in errors


def test_writing_together_sends_the_whole_text_again() -> None:
    again = Answer(pieces=[chunk(" upon"), USAGE, END])
    with scripted(STREAM, again) as server:
        done = run(server.url, "repl", text="Hello\n\n/quit\n")
    assert done.returncode == 0
    assert [asked.body["prompt"] for asked in server.asked] == ["Hello", "Hello once more"]


def test_help_shows_examples() -> None:
    done = run("http://127.0.0.1:9", "--help")
    assert done.returncode == 0
    assert 'gpt2 generate "Once upon a time"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["scale", "two"], "'two' is not a whole number; did you mean 2?"),
        (["scale", "my-model"], "`my-model 2`"),
        (["generate", "Hello", "--retries", "many"], "'many' is not a whole number"),
        (
            ["generate", "Hello", "--max-tokens", "two"],
            "'two' is not a whole number; did you mean 2?",
        ),
        (["generate", "Hello", "--temperature", "hot"], "'hot' is not a number"),
    ],
)
def test_a_wrong_word_is_answered_with_what_was_meant(arguments: list[str], meant: str) -> None:
    done = run("http://127.0.0.1:9", *arguments)
    assert (done.returncode, meant in done.stderr) == (2, True)


LOADED = Answer(200, {"data": [{"id": "my-model"}, {"id": "gpt2"}]})
UNKNOWN = Answer(404, {"error": {"message": "no such model"}})
DONE = Answer(200, {"status": "done"})
VERSIONS = [{"modelName": "gpt2", "modelVersion": version} for version in ("1.0", "2.0")]


@pytest.mark.parametrize(
    ("words", "answers", "request_line"),
    [
        ("scale my-model 2", [DONE], "PUT /models/my-model?"),
        ("scale 2", [DONE], "PUT /models/gpt2?"),
        ("scale --model my-model 2", [DONE], "PUT /models/my-model?"),
        ("scale someone/My_Model.mar 2", [UNKNOWN, LOADED, DONE], "PUT /models/my-model?"),
        ("unregister", [DONE], "DELETE /models/gpt2"),
        ("unregister my-model", [DONE], "DELETE /models/my-model"),
        ("unregister my-model 2.0", [DONE], "DELETE /models/my-model/2.0"),
        ("unregister 2.0", [LOADED, DONE], "DELETE /models/gpt2/2.0"),
        ("set-default 2.0", [DONE], "PUT /models/gpt2/2.0/set-default"),
        ("set-default my-model 2.0", [DONE], "PUT /models/my-model/2.0/set-default"),
    ],
)
def test_a_model_is_taken_by_the_name_that_people_type(
    words: str, answers: list[Answer], request_line: str
) -> None:
    with scripted(*answers) as server:
        done = run(server.url, *words.split())
    assert (done.returncode, done.stdout) == (0, "done\n")
    asked = server.asked[-1]
    assert f"{asked.method} {asked.path}".startswith(request_line)


@pytest.mark.parametrize(
    ("words", "answers", "said"),
    [
        ("unregister my-modle", [UNKNOWN, LOADED], "did you mean my-model?"),
        ("status other", [DONE, DONE, UNKNOWN, LOADED], "loaded: my-model, gpt2"),
        ("unregister gpt2 3.0", [UNKNOWN, Answer(200, VERSIONS)], "loaded: 1.0, 2.0"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_those_that_are(
    words: str, answers: list[Answer], said: str
) -> None:
    with scripted(*answers) as server:
        done = run(server.url, *words.split())
    assert (done.returncode, said in done.stderr) == (2, True)
    assert server.answers == []


def test_options_may_stand_behind_the_command() -> None:
    with scripted(DONE) as server:
        done = run("http://127.0.0.1:9", "scale", "1", "--url", server.url, "--retries", "0")
    assert done.returncode == 0
    assert re.fullmatch(r"gpt2 \d+\.\d+\.\d+\n", run(server.url, "--version").stdout)

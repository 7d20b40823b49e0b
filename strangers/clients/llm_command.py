"""The command `llm`, told of the service in its extra-openai-models.yaml."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from common import ANSWER, MANY, MODEL, PROMPT, TEXT, TOKENS, URL, has_left, main, same

FOLDER = Path(tempfile.mkdtemp())
MODELS = f"""\
- model_id: writer
  model_name: {MODEL}
  api_base: {URL}/v1
  completion: true
- model_id: talker
  model_name: {MODEL}
  api_base: {URL}/v1
"""
(FOLDER / "extra-openai-models.yaml").write_text(MODELS)
NOTHING = subprocess.DEVNULL  # it reads what is piped to it, to the end
ENVIRONMENT = {**os.environ, "LLM_USER_PATH": str(FOLDER), "OPENAI_API_KEY": "none"}


def command(model: str, *words: str, tokens: int = TOKENS, temperature: str = "0") -> list[str]:
    """A command line."""
    options = ["-o", "temperature", temperature, "-o", "max_tokens", str(tokens)]
    return [
        sys.executable,
        "-m",
        "llm",
        "prompt",
        "--no-log",
        "-m",
        model,
        *options,
        *words,
        PROMPT,
    ]


def run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run one to its end."""
    return subprocess.run(
        words, env=ENVIRONMENT, stdin=NOTHING, capture_output=True, text=True, timeout=120
    )


def printed(words: list[str]) -> str:
    """What one prints, without the line feed that it adds."""
    done = run(words)
    assert done.returncode == 0, done.stderr
    return done.stdout[:-1]


def call() -> None:
    """A text, and an answer."""
    same(printed(command("writer", "--no-stream")), TEXT)
    same(printed(command("talker", "--no-stream")), ANSWER)


def stream() -> None:
    """The same in parts, as it does by itself."""
    same(printed(command("writer")), TEXT)
    same(printed(command("talker")), ANSWER)


def cancel() -> None:
    """Press Ctrl-C."""
    words = command("writer", tokens=MANY)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where we were told to ignore it
    running = subprocess.Popen(words, env=ENVIRONMENT, stdin=NOTHING, stdout=subprocess.PIPE)
    running.stdout.read(1)
    running.send_signal(signal.SIGINT)
    has_left()
    running.wait(60)


def error() -> None:
    """A value that is not allowed."""
    done = run(command("writer", temperature="2", tokens=-5))
    assert done.returncode, done.stdout
    assert "max_tokens" in done.stderr, done.stderr


def retry() -> None:
    """It comes back by itself."""
    same(printed(command("talker")), ANSWER)


main(call, stream, cancel, error, retry)

"""The archive on the Pythons that TorchServe runs on: installed by what it requires itself.

TorchServe's own images have 3.9. TorchServe's worker is spoken to as Java does, without torch.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from bench.environments import HOME, Environment, SetUpError
from tests.handler.worker import Worker
from tests.pythons import chosen, version_of

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "handler" / "requirements.txt"
TORCHSERVE = "torchserve==0.12.0"
GRAMMARS = (3, 10)  # the oldest for which llguidance is made


def requirements() -> list[Requirement]:
    lines = REQUIREMENTS.read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def test_what_the_archive_requires_is_what_the_project_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {pin.name: pin for pin in map(Requirement, project["dependency-groups"]["engine"])}
    required = {each.name: each for each in requirements()}
    assert pinned.keys() == required.keys() - {"eval-type-backport"}
    for name, pin in pinned.items():
        (version,) = (Version(each.version) for each in pin.specifier)
        assert version in required[name].specifier, name


@pytest.fixture(scope="module")
def unpacked(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(model_store / "gpt2.mar") as archive:
        archive.extractall(folder)
    assert (folder / "requirements.txt").read_text() == REQUIREMENTS.read_text()
    return folder


def asked() -> dict[str, bytes]:
    """A hundred requests of all kinds of choosing tokens."""
    prompts = [
        "Once upon a time",
        "The fox",
        "Ah",
        "\u201cOh!\u201d she said \U0001f642",
        "a\tb\n\n c",
    ]
    kinds = [
        {},
        {"temperature": 0, "logprobs": 3},
        {"top_p": 0.9, "top_k": 40, "min_p": 0.02},
        {"repetition_penalty": 1.3, "frequency_penalty": 0.4, "stop": ["the", "."]},
        {"n": 2, "best_of": 3, "echo": True, "logit_bias": {"12": 4, "200": -100}},
    ]
    bodies = {}
    for number in range(100):
        options = {"max_tokens": 9 + number % 7, "seed": number, **kinds[number % len(kinds)]}
        body = {"prompt": prompts[number // len(kinds) % len(prompts)], **options}
        bodies[f"request-{number}"] = json.dumps(body).encode()
    return bodies


def answers(worker: Worker) -> list[object]:
    """What a worker makes of them, but for ids and times."""
    names = list(bodies := asked())
    found: dict[str, str] = {}
    for start in range(0, len(names), 8):
        found |= worker.ask({name: bodies[name] for name in names[start : start + 8]})
    values = []
    for name in names:
        value = json.loads(found[name])
        assert "error" not in value, value
        values.append([value["choices"], value["usage"]["completion_tokens"]])
    return values


@pytest.fixture(scope="module")
def expected(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    with contextlib.closing(Worker(sys.executable, unpacked, tmp_path_factory.mktemp("h"))) as made:
        return answers(made)


@pytest.fixture(params=chosen(), ids=lambda python: re.sub(r".*versions/|/bin.*", "", python))
def other(
    request: pytest.FixtureRequest, unpacked: Path, tmp_path: Path
) -> Iterator[tuple[tuple[int, int], Worker]]:
    version = version_of(request.param)
    assert version is not None
    name = "archive-python-{}.{}".format(*version)
    wanted = tuple(str(each) for each in requirements())
    environment = Environment(name, (*wanted, TORCHSERVE), interpreter=request.param)
    try:
        HOME.mkdir(parents=True, exist_ok=True)
        python = environment.ensure(print)
    except SetUpError as error:
        pytest.skip(f"what the archive requires cannot be installed: {error}")
    with contextlib.closing(Worker(python, unpacked, tmp_path)) as worker:
        yield version, worker


def test_a_hundred_texts_are_the_same_and_what_is_refused_too(
    other: tuple[tuple[int, int], Worker], expected: list[object]
) -> None:
    version, worker = other
    assert answers(worker) == expected
    bad = {
        "hot": b'{"prompt": "x", "temperature": 9}',
        "long": b'{"prompt": "x", "stop_token_ids": [' + b"1," * 9000 + b"-1]}",
        "json": b'{"prompt": ["x", ' + b'"y",' * 5000 + b"]}",
        "deep": b'{"prompt": ' + b"[" * 20_000,
        "digits": b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}",
        "surrogate": b'{"prompt": "\\ud800"}',
        "grammar": b'{"prompt": "x", "guided_regex": "(yes|no)", "max_tokens": 5}',
    }
    said = {name: json.loads(text) for name, text in worker.ask(bad).items()}
    assert said["hot"]["error"]["param"] == "temperature"
    for name in ("long", "json", "deep", "digits", "surrogate"):
        assert 400 <= int(said[name].get("code", 400)) < 500 and said[name]["error"]["message"]
    if version >= GRAMMARS:
        assert said["grammar"]["choices"][0]["text"] in ("yes", "no")
    else:
        assert "llguidance" in said["grammar"]["error"]["message"]
    again = worker.ask({"after": b'{"prompt": "x", "max_tokens": 3}'})
    assert json.loads(again["after"])["choices"][0]["text"]

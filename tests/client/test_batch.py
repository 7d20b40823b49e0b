"""Batch files: the same answers in the same order, whatever the service and the machine do."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gpt2_client.batch import lines
from gpt2_client.batch.files import FileProblem, Source, Target
from gpt2_client.batch.run import AHEAD
from gpt2_client.cli.main import main
from tests.client.busy_server import busy_server
from tests.client.command import ENVIRONMENT, GPT2
from tests.patience import PATIENCE, wait_until

KILLS = 6
MOST_ASKED = 20  # of 121, before each end


def request(number: int, **body: Any) -> str:
    value = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/completions"}
    return json.dumps({**value, "body": {"prompt": f"p{number}", **body}})


def source(tmp_path: Path, rows: Iterable[str]) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path


def batch(url: str, source: Path, target: Path, *options: str) -> int:
    words = ["batch", str(source), str(target), *options]
    return main(["--url", url, *words], {"SOURCE_DATE_EPOCH": "1000"})


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_killed_batch_ends_in_the_file_of_an_undisturbed_one(tmp_path: Path) -> None:
    rows = source(tmp_path, [request(n, n=1) for n in range(120)] + ["", "no JSON", request(7)])
    whole, pieces = tmp_path / "whole.jsonl", tmp_path / "pieces.jsonl"
    with busy_server() as server:
        assert batch(server.url, rows, whole, "--parallel", "3") == 1  # a line of it failed
        asked: list[str] = []

        def slowly(prompt: str) -> None:
            asked.append(prompt)
            time.sleep(random.uniform(0.02, 0.1))

        server.before = slowly
        for kill in range(KILLS + 1):
            command = [*GPT2, "--url", server.url, "batch", str(rows), str(pieces)]
            environment = ENVIRONMENT | {"SOURCE_DATE_EPOCH": str(1000 + kill)}
            process = subprocess.Popen(
                [*command, "--parallel", "8"], env=environment, stderr=subprocess.DEVNULL
            )
            if kill == KILLS:
                process.wait(PATIENCE)
                break
            more = len(asked) + random.randint(1, MOST_ASKED)  # in the middle of it
            wait_until(lambda more=more: len(asked) >= more)
            process.kill()
            process.wait()
    assert pieces.read_bytes() == whole.read_bytes()
    assert len(read(whole)) == 122
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.jsonl",
        "pieces.jsonl",
        "whole.jsonl",
    ]


def test_as_many_are_out_as_the_server_takes_and_none_is_lost(tmp_path: Path) -> None:
    rows = source(tmp_path, (request(n) for n in range(150)))
    with busy_server(most=6) as server:
        assert batch(server.url, rows, tmp_path / "out", "--parallel", "40") == 0
    assert server.largest == 6 and server.refused
    assert [row["custom_id"] for row in read(tmp_path / "out")] == [f"r{n}" for n in range(150)]


def test_no_more_is_read_ahead_than_the_bound_while_one_answer_is_awaited(tmp_path: Path) -> None:
    rows = source(tmp_path, (request(n) for n in range(200)))
    go_on = threading.Event()
    with busy_server() as server:
        server.before = lambda prompt: go_on.wait(PATIENCE) if prompt == "p0" else None
        runner = threading.Thread(
            target=batch, args=(server.url, rows, tmp_path / "out", "--parallel", "4")
        )
        runner.start()
        while len(server.answered) < AHEAD * 4 - 1:
            time.sleep(0.01)
        time.sleep(0.2)
        assert len(server.answered) == AHEAD * 4 - 1
        go_on.set()
        runner.join(PATIENCE)
    assert [row["custom_id"] for row in read(tmp_path / "out")] == [f"r{n}" for n in range(200)]


def test_a_service_that_stays_away_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    rows = source(tmp_path, (request(n) for n in range(30)))
    out = tmp_path / "out"

    def goes_away(prompt: str) -> None:
        if prompt == "p20":
            raise ConnectionAbortedError

    with busy_server() as server:
        server.before = goes_away
        assert batch(server.url, rows, out, "--parallel", "2", "--patience", "0.5") == 3
        assert not out.exists()
        server.before = lambda prompt: None
        again = len(server.answered)
        assert batch(server.url, rows, out) == 0
        assert server.answered[again:].count("p0") == 0
    assert len(read(out)) == 30


def test_what_was_given_is_kept_and_what_was_not_follows_from_the_file(tmp_path: Path) -> None:
    rows = source(tmp_path, [request(1, seed=5), request(2), request(3, prompt="bad")])
    with busy_server() as server:
        batch(server.url, rows, tmp_path / "out")
    given, derived, refused = read(tmp_path / "out")
    assert given["response"]["body"]["choices"][0]["text"] == "p1 5"
    seed = lines.Labels("r2", Source.open(rows).digest, 2).seed
    assert derived["response"]["body"]["choices"][0]["text"] == f"p2 {seed}"
    assert given["response"]["body"]["created"] == 1000
    assert given["response"]["body"]["id"].startswith("cmpl-")
    assert "cached_tokens" not in given["response"]["body"]["usage"]["prompt_tokens_details"]
    assert refused["response"]["status_code"] == 400 and refused["error"] is None
    assert refused["response"]["body"]["error"]["message"] == "no"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "invalid_json_line"),
        (b"[1]", "invalid_json_line"),
        (b'"caf\xe9"', "invalid_json_line"),
        (b"[" * 100_000, "invalid_json_line"),
        (b'{"custom_id": 7}', "missing_required_parameter"),
        (b'{"custom_id": "a", "method": "GET"}', "invalid_method"),
        (b'{"custom_id": "a", "method": "POST", "url": "/v1/files"}', "invalid_url"),
        (
            b'{"custom_id": "a", "method": "POST", "url": "/v1/completions"}',
            "missing_required_parameter",
        ),
        (
            b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"stream": 1}}',
            "invalid_request",
        ),
    ],
)
def test_a_line_that_cannot_be_sent_is_answered_with_its_error(line: bytes, code: str) -> None:
    labels, problem = lines.read(line, 3, "digest")
    assert isinstance(problem, lines.LineError) and "line 3" in str(problem)
    answer = json.loads(lines.failed(labels, problem))
    assert answer["response"] is None and answer["error"]["code"] == code
    assert set(answer) == {"id", "custom_id", "response", "error"}


def test_half_a_character_in_an_id_is_kept_as_json_can(tmp_path: Path) -> None:
    line = b'{"custom_id": "\\ud800", "method": "POST", "url": "/v1/completions", "body": {}}'
    labels, _ = lines.read(line, 1, "digest")
    assert json.loads(lines.answered(labels, 200, {}, 1))["custom_id"] == "\ud800"


@contextmanager
def begun(path: Path, digest: str = "d", model: str = "one") -> Iterator[Target]:
    with Target(path) as target:
        target.begin(digest, {"gpt2": model}, 1, lambda line: None)
        yield target


def test_a_batch_never_writes_over_or_into_what_is_not_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("a person's own")
    with pytest.raises(FileProblem, match="exists"), begun(out):
        pass
    assert out.read_text() == "a person's own"
    out.unlink()
    with begun(out) as held:
        with pytest.raises(FileProblem, match="another run"), begun(out):
            pass
        held.append(b"{}\n")
    for digest, model in (("other", "one"), ("d", "two")):
        with pytest.raises(FileProblem, match="start over") as caught, begun(out, digest, model):
            pass
    assert "gpt2" in str(caught.value)
    assert (tmp_path / "out.partial").read_bytes() == b"{}\n"


def test_half_a_line_at_the_end_is_written_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with begun(out) as target:
        target.append(b'{"whole": 1}\n{"ha')
    found: list[bytes] = []
    with Target(out) as target:
        target.begin("d", {"gpt2": "one"}, 2, found.append)
        target.append(b'{"half": 2}\n')
        assert target.created == 1
        target.finish()
    assert found == [b'{"whole": 1}\n']
    assert out.read_bytes() == b'{"whole": 1}\n{"half": 2}\n'


def test_a_kill_between_the_last_two_steps_is_seen_as_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with begun(out) as target:
        state = (tmp_path / "out.state").read_bytes()
        target.finish()
    (tmp_path / "out.state").write_bytes(state)
    with begun(out) as again:
        assert again.is_done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_source_that_is_no_file_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "is not a file"), (tmp_path / "none", "does not exist")):
        with pytest.raises(FileProblem, match=reason):
            Source.open(path)


def test_a_line_too_long_for_memory_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2_client.batch.files.MAX_LINE_BYTES", 200)
    rows = source(tmp_path, [request(1), request(2, prompt="x" * 3000), request(3)])
    found = Source.open(rows)
    assert [(number, data is None) for number, data in found.lines(0)] == [
        (1, False),
        (2, True),
        (3, False),
    ]
    assert found.requests == 3

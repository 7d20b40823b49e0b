"""Every gcloud line that is printed or written, against the SDK's own linter."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import MAY_BE_MISSING, ROOT, forbidden_skips
from tests.container.cloud import Cloud
from tests.container.conftest import Contract

REGIONS = "--regions=us-central1,asia-east1 --domain=gpt2.example.com"
WAYS = (
    *("--public", "--delete", "--always-cpu", "--platform=vertex-ai", "--collector"),
    *("--canary=10", "--promote", "--rollback", REGIONS, f"--delete --collector {REGIONS}"),
)
WRONG = "gcloud run services delete gpt2 --no-such-flag"


def test_a_skip_for_want_of_the_sdk_alone_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL_ON_SKIP", "1")

    def forbidden(*reasons: str) -> list[str]:
        skipped = [
            SimpleNamespace(nodeid=reason, longrepr=("a.py", 1, f"Skipped: {reason}"))
            for reason in reasons
        ]
        return forbidden_skips(SimpleNamespace(stats={"skipped": skipped}))

    assert not forbidden() and not forbidden(MAY_BE_MISSING, MAY_BE_MISSING)
    assert forbidden(MAY_BE_MISSING, "no Chromium") == ["no Chromium"]
    monkeypatch.delenv("FAIL_ON_SKIP")
    assert not forbidden("no Chromium")


def flags(node: dict[str, Any]) -> Iterator[str]:
    """Every flag of a command, as the linter describes it."""
    for argument in node.get("arguments", ()):
        if "name" in argument:
            yield f"--{argument['name']}"
        yield from flags(argument.get("group", {}))


def printed_commands(printed: str) -> Iterator[str]:
    """What a dry run prints, and how it says to be rid of what stays."""
    for line in printed.splitlines():
        for part in line.removeprefix("# ").split(" || "):
            if part.startswith("gcloud "):
                yield shlex.join(shlex.split(part, comments=True))


def written_commands() -> Iterator[str]:
    """What a reader finds: in the code of the pages, in the comments of the YAML."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    code = [re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL) for page in pages]
    notes = [re.findall("#.*", file.read_text()) for file in (ROOT / "deploy").rglob("*.yaml")]
    for text in (text for texts in code + notes for text in texts):
        for found in re.findall(r"\bgcloud [a-z][^`)\n]*", re.sub(r"\\\n\s*", "", text)):
            named = found.replace("PROJECT", "my-project").replace("REGION", "europe-west1")
            yield shlex.join(shlex.split(named, comments=True))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the SDK's own linter, without a network, says of all commands: asked once."""
    home = tmp_path_factory.mktemp("linted")
    (home / "keys").write_text("alice:alice-key-0123456789\n")
    more = ("--api-keys", f"{home}/keys", "--management-key", f"{home}/keys")
    cloud = Cloud(home, "http://none")
    ways = {way: (*way.split(), "--dry-run", *(more if way == "--public" else ())) for way in WAYS}
    commands = {
        way: [*printed_commands(cloud.deploy(*words).stdout)] for way, words in ways.items()
    }
    commands |= {"written": [*written_commands()], "wrong": [WRONG]}
    every = dict.fromkeys(command for some in commands.values() for command in some)
    file = home / "commands.json"
    file.write_text(json.dumps([{"command_string": command} for command in every]))
    done = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"],
        capture_output=True,
        text=True,
        check=True,
    )
    said = dict(zip(every, json.loads(done.stdout), strict=True))
    return {kind: [said[command] for command in some] for kind, some in commands.items()}


def is_known(verdict: dict[str, Any]) -> bool:
    given = {word for word in verdict["command_args"] or () if word.startswith("--")}
    return bool(verdict["success"]) and given <= set(flags(verdict["args_structure"]))


@pytest.mark.skipif(not shutil.which("gcloud"), reason=MAY_BE_MISSING)
@pytest.mark.parametrize("kind", [*WAYS, "written"])
def test_the_sdk_knows_every_command_and_flag(
    kind: str, verdicts: dict[str, list[dict[str, Any]]], contract: Contract
) -> None:
    found = verdicts[kind]
    lines = [verdict["command_string"] for verdict in found]
    for verdict in found:
        assert is_known(verdict), (verdict["command_string"], verdict["error_message"])
    fewest = {"written": 4, "--promote": 1, "--rollback": 2}.get(kind, 7)
    assert len(found) > fewest, lines
    if kind == "written":
        assert any(line.startswith("gcloud run services replace deploy/") for line in lines)
        assert "gcloud auth print-identity-token" in lines
        return
    if kind == "--delete":  # what stays, and how to be rid of it
        assert "gcloud storage rm gs://my-project_cloudbuild/source --recursive" in lines
    contract.point(f"the Google Cloud SDK knows every line of deploy {kind}", f"{len(found)} lines")


@pytest.mark.skipif(not shutil.which("gcloud"), reason=MAY_BE_MISSING)
def test_the_sdk_tells_a_flag_that_there_is_not(
    verdicts: dict[str, list[dict[str, Any]]],
) -> None:
    [verdict] = verdicts["wrong"]
    assert not is_known(verdict) and "no-such-flag" in json.dumps(verdict)

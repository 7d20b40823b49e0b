"""Cloud Run: its YAML against published types, every gcloud line, and ./scripts/deploy itself.

Google's side is played by a stand-in for `gcloud` that keeps what was made in a directory; the
service that is smoke-tested is the real container.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from google.cloud import run_v2
from google.protobuf import json_format

from deploy import render
from deploy.settings import CONCURRENCY, Settings
from tests.conftest import ROOT
from tests.container.conftest import Contract
from tests.container.container import Container

# Knative's revision: these beside a pod's own, and of the pod's own only these.
KNATIVE_FIELDS = {"containerConcurrency", "timeoutSeconds"}
POD_FIELDS = {"containers", "serviceAccountName", "volumes"}

GCLOUD = """\
#!{python}
import json, pathlib, sys
words, home = sys.argv[1:], pathlib.Path({home!r})
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
verbs = [word for word in words if not word.startswith("--")]
line = " ".join(verbs)
if line.startswith("projects describe"):
    print("123456789")
elif line.startswith("run services describe"):
    print({url!r})
elif line.startswith("run services replace"):
    (home / "service.yaml").write_text(pathlib.Path(verbs[3]).read_text())
elif line.startswith("secrets versions access"):
    name = next(w for w in words if w.startswith("--secret=")).partition("=")[2]
    file = home / ("value-" + name)
    sys.exit(1) if not file.exists() else print(file.read_text(), end="")
elif line.startswith("secrets versions add"):
    source = next(w for w in words if w.startswith("--data-file=")).partition("=")[2]
    (home / ("value-" + verbs[3])).write_text(pathlib.Path(source).read_text())
elif " create " in line + " ":
    (home / ("made-" + verbs[-1])).touch()
elif line.startswith("builds submit"):
    (home / "made-image").touch()
elif "docker images describe" in line:
    sys.exit(0 if (home / "made-image").exists() else 1)
elif "describe" in verbs:
    sys.exit(0 if (home / ("made-" + verbs[-1].partition("@")[0])).exists() else 1)
"""


class Cloud:
    """What the stand-in keeps, and ./scripts/deploy run against it."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        program = home / "gcloud"
        program.write_text(GCLOUD.format(python=sys.executable, home=str(home), url=url))
        program.chmod(0o755)

    def deploy(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": f"{self.home}:{os.environ['PATH']}"}
        return subprocess.run(
            [sys.executable, "-m", "deploy", "--project", "my-project", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """What was called since the last time this was asked."""
        file = self.home / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [" ".join(json.loads(line)) for line in lines]


@pytest.fixture
def cloud(tmp_path: Path, container: Container) -> Cloud:
    return Cloud(tmp_path, container.url)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "keys").write_text("alice:alice-key-0123456789\n")
    (tmp_path / "key").write_text("management-key-0123456789\n")
    return ("--api-keys", f"{tmp_path}/keys", "--management-key", f"{tmp_path}/key")


def services(keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The template as it is, and what is made of it."""
    yield yaml.safe_load(render.TEMPLATE.read_text())
    settings = Settings(project="my-project", public=True, api_keys=Path(keys[1]))
    yield render.service(settings, "image:tag", "https://host")


def test_its_service_fits_the_published_types(keys: tuple[str, ...], contract: Contract) -> None:
    version = kubernetes_validate.latest_version()
    for service in services(keys):
        assert (service["apiVersion"], service["kind"]) == ("serving.knative.dev/v1", "Service")
        revision = service["spec"]["template"]["spec"]
        assert set(revision) <= KNATIVE_FIELDS | POD_FIELDS
        pod = {key: value for key, value in revision.items() if key in POD_FIELDS}
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod},
            version,
            strict=True,
        )
        for container in revision["containers"]:
            parsed = json_format.ParseDict(container, run_v2.Container.pb(run_v2.Container()))
            assert parsed.startup_probe.http_get.path == "/health/ready"
        assert revision["containerConcurrency"] == CONCURRENCY
    contract.point(
        "service.yaml fits the types of Knative, Cloud Run, Kubernetes",
        f"Kubernetes {version}, google-cloud-run 2",
    )


def test_concurrency_is_slots_and_queue_and_room_for_the_page() -> None:
    engine = yaml.safe_load((ROOT / "config" / "model-config.yaml").read_text())["engine"]
    assert engine["slots"] + engine["max_waiting"] < CONCURRENCY


def test_the_build_names_only_what_it_defines() -> None:
    text = (ROOT / "deploy" / "cloudrun" / "cloudbuild.yaml").read_text()
    build = yaml.safe_load(text)
    used = {word.partition("}")[0] for word in text.split("${")[1:]} - {"PROJECT_ID"}
    assert used == set(build["substitutions"])


@pytest.mark.parametrize("access", ["public", "private"])
def test_it_deploys_once_however_often_it_is_run(
    access: str, cloud: Cloud, container: Container, contract: Contract
) -> None:
    words = ("--public",) if access == "public" else ()
    refused = cloud.deploy(*words)
    assert refused.returncode == 1 and "say --yes" in refused.stderr
    assert not any(" create " in call for call in cloud.calls()), "it did not ask first"
    first = cloud.deploy(*words, "--yes")
    assert first.returncode == 0, first.stderr
    assert f"GPT-2 is at {container.url}" in first.stdout
    made = [call for call in cloud.calls() if " create " in call]
    again = cloud.deploy(*words, "--yes")
    assert again.returncode == 0, again.stderr
    assert not any(" create " in call for call in cloud.calls())
    service = yaml.safe_load((cloud.home / "service.yaml").read_text())
    env = {
        e["name"]: e["value"] for e in service["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["HOST"] == "https://gpt2-123456789.europe-west1.run.app"
    contract.point(
        f"scripts/deploy, {access}: asks, deploys, again", f"{len(made)} things made once"
    )


def test_a_new_key_is_a_new_version_and_the_same_is_none(
    cloud: Cloud, keys: tuple[str, ...]
) -> None:
    words = ("--public", *keys, "--yes")
    assert cloud.deploy(*words).returncode == 0
    assert sum("versions add" in call for call in cloud.calls()) == 2
    assert cloud.deploy(*words).returncode == 0
    assert sum("versions add" in call for call in cloud.calls()) == 0
    Path(keys[1]).write_text("alice:another-key-0123456789\n")
    assert cloud.deploy(*words).returncode == 0
    assert sum("versions add" in call for call in cloud.calls()) == 1


def test_a_dry_run_calls_nothing(cloud: Cloud, keys: tuple[str, ...]) -> None:
    done = cloud.deploy("--public", *keys, "--dry-run")
    assert done.returncode == 0 and "gcloud run services replace" in done.stdout
    assert cloud.calls() == []


def test_delete_takes_all_of_it_away(cloud: Cloud) -> None:
    assert cloud.deploy("--delete", "--yes").returncode == 0
    deleted = [call.split("--")[0].strip() for call in cloud.calls()]
    for kind in ("run services", "artifacts repositories", "secrets", "iam service-accounts"):
        assert any(call.startswith(f"{kind} delete") for call in deleted), kind


def flags(node: dict[str, Any]) -> Iterator[str]:
    """Every flag of a command, as the linter describes it."""
    for argument in node.get("arguments", ()):
        if "name" in argument:
            yield f"--{argument['name']}"
        yield from flags(argument.get("group", {}))


if shutil.which("gcloud"):  # the SDK's own linter, without a network

    @pytest.mark.parametrize("words", [("--public",), ("--delete",), ("--always-cpu",)])
    def test_the_sdk_knows_every_command_and_flag(
        words: tuple[str, ...], tmp_path: Path, keys: tuple[str, ...], contract: Contract
    ) -> None:
        more = keys if "--public" in words else ()
        printed = Cloud(tmp_path, "http://none").deploy(*words, *more, "--dry-run").stdout
        lines = [line for line in printed.splitlines() if line.startswith("gcloud")]
        commands = [part.strip() for line in lines for part in line.split(" || ")]
        commands = [command for command in commands if command.startswith("gcloud")]
        file = tmp_path / "commands.json"
        file.write_text(json.dumps([{"command_string": command} for command in commands]))
        done = subprocess.run(
            ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"],
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        assert len(found) == len(commands) > 3
        for verdict in found:
            assert verdict["success"], verdict["error_message"]
            given = {word for word in verdict["command_args"] if word.startswith("--")}
            assert given <= set(flags(verdict["args_structure"])), shlex.quote(
                verdict["command_string"]
            )
        contract.point(
            f"the Google Cloud SDK knows every line of deploy {words[0]}", f"{len(found)} lines"
        )

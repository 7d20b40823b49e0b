"""Cloud Run's and Knative's YAML against published types, every gcloud line against the SDK."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from google.cloud import run_v2
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format

from deploy import render
from deploy.__main__ import STAYS
from deploy.plan import CONFIG
from deploy.settings import CONCURRENCY, Settings
from tests.conftest import ROOT
from tests.container.cloud import Cloud
from tests.container.conftest import Contract

KNATIVE = ROOT / "deploy" / "knative" / "service.yaml"
# Knative's revision: these beside a pod's own, and of the pod's own only these.
KNATIVE_FIELDS = {"containerConcurrency", "timeoutSeconds"}
POD_FIELDS = {"containers", "serviceAccountName", "volumes"}
CONTAINER_FIELDS = {
    *("name", "image", "ports", "env", "resources", "volumeMounts"),
    *("livenessProbe", "readinessProbe"),
}
# There are no published types for annotations: the names and values that Google's and Knative's
# documentation lists, of those that are used here.
SCALE = re.compile(r"0|[1-9][0-9]{0,3}")
ON_THE_SERVICE = {
    "run.googleapis.com/ingress": re.compile("all|internal(-and-cloud-load-balancing)?")
}
ON_THE_REVISION = {
    "autoscaling.knative.dev/minScale": SCALE,
    "autoscaling.knative.dev/maxScale": SCALE,
    "autoscaling.knative.dev/min-scale": SCALE,
    "autoscaling.knative.dev/max-scale": SCALE,
    "run.googleapis.com/cpu-throttling": re.compile("true|false"),
    "run.googleapis.com/startup-cpu-boost": re.compile("true|false"),
    "run.googleapis.com/execution-environment": re.compile("gen1|gen2"),
    "keys-sha256": re.compile("[0-9a-f]{12}"),
}
SCALING = {"minInstanceCount": "minScale", "maxInstanceCount": "maxScale"}
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def services(keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The templates as they are, and what is made of Cloud Run's."""
    yield yaml.safe_load(KNATIVE.read_text())
    yield yaml.safe_load(render.TEMPLATE.read_text())
    more = {"public": True, "api_keys": Path(keys[1]), "management_key": Path(keys[3])}
    for settings in (
        Settings(project="my-project"),
        Settings(project="my-project", **more),  # type: ignore[arg-type]
        Settings(project="my-project", always_cpu=True, generation=1, cpu=8, memory="32Gi"),
    ):
        yield render.service(settings, "image@sha256:0", "https://host")


def test_its_service_fits_the_published_types(keys: tuple[str, ...], contract: Contract) -> None:
    version = kubernetes_validate.latest_version()
    made = list(services(keys))
    for service in made:
        assert set(service) == {"apiVersion", "kind", "metadata", "spec"}
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
            # A Knative before 1.15 refuses startup probes: our file for it has none.
            more = set() if service == made[0] else {"startupProbe"}
            assert set(container) <= CONTAINER_FIELDS | more
            # Requests are Kubernetes' own; Cloud Run has limits alone.
            limits = {"limits": container["resources"]["limits"]}
            parsed = json_format.ParseDict(
                container | {"resources": limits}, run_v2.Container.pb(run_v2.Container())
            )
            ready = parsed.startup_probe if "startupProbe" in container else parsed.readiness_probe
            assert ready.http_get.path == "/health/ready"
        assert revision["containerConcurrency"] == CONCURRENCY
        scale = service["spec"]["template"]["metadata"].get("annotations", {})
        whole = {
            "maxInstanceRequestConcurrency": revision["containerConcurrency"],
            "timeout": f"{revision['timeoutSeconds']}s",
            "serviceAccount": revision.get("serviceAccountName", ""),
            "scaling": {
                key: int(scale.get(f"autoscaling.knative.dev/{name}", 0))
                for key, name in (
                    ("minInstanceCount", "minScale"),
                    ("maxInstanceCount", "maxScale"),
                )
            },
        }
        fits = json_format.ParseDict(whole, run_v2.RevisionTemplate.pb(run_v2.RevisionTemplate()))
        assert 0 < fits.timeout.seconds <= 3600 and fits.max_instance_request_concurrency <= 1000
    contract.point(
        "service.yaml: containers fit Kubernetes' and Cloud Run's types",
        f"{len(made)} services; Kubernetes {version}, google-cloud-run 2",
    )


def test_annotations_and_names_are_known_ones(keys: tuple[str, ...], contract: Contract) -> None:
    checked = 0
    for service in services(keys):
        template = service["spec"]["template"]
        for holder, known in ((service, ON_THE_SERVICE), (template, ON_THE_REVISION)):
            assert set(holder["metadata"]) <= {"name", "annotations"}
            assert NAME.fullmatch(holder["metadata"].get("name", "gpt2"))
            for name, value in holder["metadata"].get("annotations", {}).items():
                assert name in known, name
                assert isinstance(value, str) and known[name].fullmatch(value), (name, value)
                checked += 1
    contract.point("service.yaml: annotations are known, values and all", f"{checked} annotations")


def test_every_secret_is_mounted_where_the_setting_points(keys: tuple[str, ...]) -> None:
    for service in services(keys):
        revision = service["spec"]["template"]["spec"]
        [container] = revision["containers"]
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        files = {name: Path(value) for name, value in env.items() if name.endswith("_KEY_FILE")}
        files |= {name: Path(value) for name, value in env.items() if name == "API_KEYS_FILE"}
        mounts = {Path(m["mountPath"]): m["name"] for m in container.get("volumeMounts", ())}
        volumes = {volume["name"]: volume["secret"] for volume in revision.get("volumes", ())}
        assert len(files) == len(mounts) == len(volumes)
        for path in files.values():
            secret = volumes[mounts[path.parent]]
            assert NAME.fullmatch(secret["secretName"])
            assert secret["items"] == [{"key": "latest", "path": path.name}]


def test_knatives_service_holds_nothing_of_cloud_runs() -> None:
    text = KNATIVE.read_text()
    assert "googleapis.com" not in text and "latest" not in text
    theirs, ours = yaml.safe_load(text), yaml.safe_load(render.TEMPLATE.read_text())
    for key in ("containerConcurrency", "timeoutSeconds"):
        assert theirs["spec"]["template"]["spec"][key] == ours["spec"]["template"]["spec"][key]


def test_concurrency_is_slots_and_queue_and_room_for_the_page() -> None:
    engine = yaml.safe_load((ROOT / "config" / "model-config.yaml").read_text())["engine"]
    assert engine["slots"] + engine["max_waiting"] < CONCURRENCY


def test_cloudbuild_fits_the_published_type(contract: Contract) -> None:
    build = yaml.safe_load((ROOT / CONFIG).read_text())
    parsed = json_format.ParseDict(build, cloudbuild_v1.Build.pb(cloudbuild_v1.Build()))
    logging = cloudbuild_v1.BuildOptions.LoggingMode.CLOUD_LOGGING_ONLY
    assert parsed.options.logging == logging  # asked of a build with an account of its own
    assert parsed.timeout.seconds == 2400
    contract.point("cloudbuild.yaml fits Cloud Build's type", "google-cloud-build 3.43")


def test_every_substitution_of_a_build_is_used(tmp_path: Path) -> None:
    # Cloud Build refuses one that steps and images do not name.
    build = yaml.safe_load((ROOT / CONFIG).read_text())
    printed = Cloud(tmp_path, "http://none").deploy("--dry-run").stdout
    submit = next(line for line in printed.splitlines() if " builds submit " in line)
    [given] = [w for w in shlex.split(submit) if w.startswith("--substitutions=")]
    pairs = dict(pair.split("=", 1) for pair in given.partition("=")[2].split(","))
    merged = build["substitutions"] | pairs
    body = json.dumps([build["steps"], build["images"]])
    used = set(re.findall(r"\$\{(\w+)\}", body))
    assert set(merged) == used
    assert set(pairs) <= set(build["substitutions"]), "one that the file does not define"


def flags(node: dict[str, Any]) -> Iterator[str]:
    """Every flag of a command, as the linter describes it."""
    for argument in node.get("arguments", ()):
        if "name" in argument:
            yield f"--{argument['name']}"
        yield from flags(argument.get("group", {}))


needs_sdk = pytest.mark.skipif(
    not shutil.which("gcloud"), reason="the Google Cloud SDK is not installed"
)


def lint(commands: list[str], file: Path) -> list[dict[str, Any]]:
    """What the SDK's own linter finds, without a network: its verdict on each command."""
    file.write_text(json.dumps([{"command_string": command} for command in commands]))
    done = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(found) == len(commands)
    return found


def faults_of(verdict: dict[str, Any]) -> str:
    """What is wrong with a command: empty if the SDK knows it and all its flags."""
    if not verdict["success"]:
        return str(verdict["error_message"])
    given = {word for word in verdict["command_args"] or () if word.startswith("--")}
    return " ".join(sorted(given - set(flags(verdict["args_structure"]))))


def written_commands() -> set[str]:
    """Every gcloud line of the documentation and the YAML, and what deploy tells to type."""
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.yaml")]
    texts = [file.read_text() for file in files] + [STAYS.format(bucket="gs://bucket")]
    found = {
        command.strip(" `)")
        for text in texts
        for command in re.findall(r"(?:^#? *|\\$\(|`|: )(gcloud [a-z][^`)\n]*)", text, re.MULTILINE)
    }
    named = (
        command.replace("PROJECT", "my-project").replace("REGION", "europe-west1")
        for command in found
    )
    return {shlex.join(shlex.split(command, comments=True)) for command in named}


@needs_sdk
@pytest.mark.parametrize("words", [("--public",), ("--delete",), ("--always-cpu",)])
def test_the_sdk_knows_every_command_and_flag(
    words: tuple[str, ...], tmp_path: Path, keys: tuple[str, ...], contract: Contract
) -> None:
    more = keys if "--public" in words else ()
    printed = Cloud(tmp_path, "http://none").deploy(*words, *more, "--dry-run").stdout
    lines = [line for line in printed.splitlines() if line.startswith("gcloud")]
    commands = [
        shlex.join(shlex.split(part, comments=True))
        for line in lines
        for part in line.split(" || ")
        if part.startswith("gcloud")
    ]
    assert len(commands) > 7
    if "--public" in words:
        written = written_commands()
        assert len(written) >= 7 and any("auth login" in command for command in written)
        commands += sorted(written - set(commands))
    unknown = "gcloud run services list --no-such-flag"
    *found, control = lint([*commands, unknown], tmp_path / "commands.json")
    assert faults_of(control), "the linter would let anything pass"
    assert {verdict["command_string"]: faults_of(verdict) for verdict in found} == {
        verdict["command_string"]: "" for verdict in found
    }
    contract.point(
        f"the Google Cloud SDK knows every line of deploy {words[0]}", f"{len(found)} lines"
    )


def test_the_table_of_costs_is_what_the_formula_gives_for_the_measured_speeds() -> None:
    results = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())
    speeds = {
        row["streams"]: row["tokens_per_second"]
        for row in results["rows"]
        if (row["system"], row["path"]) == ("gpt2-torchserve int8", "http")
        and row["model"].startswith("gpt2 ")
        and row["prefill_counted"]
        and (row["prompt_tokens"], row["new_tokens"]) == (64, 128)
    }
    active = 2 * 0.000024 + 2 * 0.0000025
    idle = 2 * 0.0000025 + 2 * 0.0000025
    page = (ROOT / "docs" / "cost.md").read_text()
    for streams, words in ((1, "one after the other"), (8, "8 at a time"), (32, "32 at a time")):
        seconds = 50_000 / speeds[streams]
        cost = seconds * active + 1000 * 0.40 / 1e6
        row = next(line for line in page.splitlines() if line.startswith(f"| {words}"))
        _, _, speed, took, price, from_zero, warm, _ = (cell.strip() for cell in row.split("|"))
        assert (speed, took) == (f"{speeds[streams]:.0f}", f"{seconds:.0f}")
        assert (price, from_zero) == (f"${cost:.4f}", f"${cost + 3 * active:.4f}")
        assert warm == f"${cost + (86_400 - seconds) * idle:.3f}"

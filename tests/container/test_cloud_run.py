"""Cloud Run's and Knative's YAML against published types, every gcloud line against the SDK."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
import yaml
from google.cloud import run_v2
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format

from deploy import render
from deploy.plan import CONFIG
from deploy.settings import CONCURRENCY, Settings
from tests.conftest import MAY_BE_MISSING, ROOT, forbidden_skips
from tests.container.cloud import Cloud
from tests.container.conftest import Contract

KNATIVE = ROOT / "deploy" / "knative" / "service.yaml"
COST = ROOT / "docs" / "cost.md"
# Knative's schema is in no package. These are from its specification (what knative/serving's
# hack/schemapatch-config.yaml lets through): the revision's own fields, of Kubernetes' these alone.
# Fields behind feature flags are left out.
KNATIVE_FIELDS = {"containerConcurrency", "timeoutSeconds"}
POD_FIELDS = {"containers", "serviceAccountName", "volumes"}
CONTAINER_FIELDS = {
    *("args", "command", "env", "envFrom", "image", "imagePullPolicy", "livenessProbe", "name"),
    *("ports", "readinessProbe", "resources", "securityContext", "terminationMessagePath"),
    *("terminationMessagePolicy", "volumeMounts", "workingDir"),
}
SINCE_1_15 = {"startupProbe"}  # knative/serving#15309; refused before
PROBE_FIELDS = {
    *("exec", "failureThreshold", "grpc", "httpGet", "initialDelaySeconds", "periodSeconds"),
    *("successThreshold", "tcpSocket", "timeoutSeconds"),
}
VOLUME_FIELDS = {"configMap", "name", "projected", "secret"}
MOUNT_FIELDS = {"mountPath", "name", "readOnly", "subPath"}
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
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def with_keys(template: str) -> str:
    """The template with its lines for keys, which are commented out: prose begins with "# "."""
    header, start, body = template.partition("apiVersion")
    return start + re.sub(r"^( *)#(?! \S)", r"\1", body, flags=re.MULTILINE)


def services(keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The templates as they are, and what is made of Cloud Run's."""
    yield yaml.safe_load(KNATIVE.read_text())
    yield yaml.safe_load(render.TEMPLATE.read_text())
    yield yaml.safe_load(with_keys(render.TEMPLATE.read_text()))
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
        pod = {key: value for key, value in revision.items() if key in POD_FIELDS}
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod},
            version,
            strict=True,
        )
        for container in revision["containers"]:
            # Requests are Kubernetes' own; Cloud Run has limits alone.
            limits = {"limits": container["resources"]["limits"]}
            parsed = json_format.ParseDict(
                container | {"resources": limits}, run_v2.Container.pb(run_v2.Container())
            )
            ready = parsed.startup_probe if "startupProbe" in container else parsed.readiness_probe
            assert ready.http_get.path == "/health/ready"
        assert revision["containerConcurrency"] == CONCURRENCY
        whole = as_cloud_run_names_it(service["spec"]["template"])
        fits = json_format.ParseDict(whole, run_v2.RevisionTemplate.pb(run_v2.RevisionTemplate()))
        assert 0 < fits.timeout.seconds <= 3600 and fits.max_instance_request_concurrency <= 1000
        assert 0 <= fits.scaling.min_instance_count <= fits.scaling.max_instance_count
        assert fits.scaling.max_instance_count > 0
    contract.point(
        "service.yaml: containers fit Kubernetes' and Cloud Run's types",
        f"{len(made)} services; Kubernetes {version}, google-cloud-run 2",
    )


def as_cloud_run_names_it(template: dict[str, Any]) -> dict[str, Any]:
    """A revision in the words of google-cloud-run's RevisionTemplate, its annotations and all."""
    revision, notes = template["spec"], template["metadata"]["annotations"]
    scale = {name.lower().replace("-", ""): value for name, value in notes.items()}
    throttled = notes.get("run.googleapis.com/cpu-throttling") == "true"
    boosted = notes.get("run.googleapis.com/startup-cpu-boost") == "true"
    generation = notes.get("run.googleapis.com/execution-environment", "unspecified")
    [container] = revision["containers"]
    resources = {"limits": container["resources"]["limits"]}
    resources |= {"cpuIdle": throttled, "startupCpuBoost": boosted}
    return {
        "scaling": {
            "minInstanceCount": int(scale["autoscaling.knative.dev/minscale"]),
            "maxInstanceCount": int(scale["autoscaling.knative.dev/maxscale"]),
        },
        "timeout": f"{revision['timeoutSeconds']}s",
        "maxInstanceRequestConcurrency": revision["containerConcurrency"],
        "serviceAccount": revision.get("serviceAccountName", ""),
        "executionEnvironment": f"EXECUTION_ENVIRONMENT_{generation.upper()}",
        "containers": [container | {"resources": resources}],
        "volumes": [
            {
                "name": volume["name"],
                "secret": {
                    "secret": volume["secret"]["secretName"],
                    "items": [
                        {"path": item["path"], "version": item["key"]}
                        for item in volume["secret"]["items"]
                    ],
                },
            }
            for volume in revision.get("volumes", ())
        ],
    }


def check_knatives_fields(service: dict[str, Any], container_fields: set[str]) -> None:
    revision = service["spec"]["template"]["spec"]
    assert set(revision) <= KNATIVE_FIELDS | POD_FIELDS
    [container] = revision["containers"]
    assert set(container) <= container_fields
    assert set(container["ports"][0]) <= {"containerPort", "name", "protocol"}
    for entry in container["env"]:
        assert set(entry) <= {"name", "value", "valueFrom"}
    for name in set(container) & {"livenessProbe", "readinessProbe", "startupProbe"}:
        assert set(container[name]) <= PROBE_FIELDS, name
    for mount in container.get("volumeMounts", ()):
        assert set(mount) <= MOUNT_FIELDS
    for volume in revision.get("volumes", ()):
        assert set(volume) <= VOLUME_FIELDS


def test_it_has_no_field_that_knative_does_not_take(keys: tuple[str, ...]) -> None:
    ours, *cloud_runs = services(keys)
    check_knatives_fields(ours, CONTAINER_FIELDS)
    for service in cloud_runs:
        check_knatives_fields(service, CONTAINER_FIELDS | SINCE_1_15)
        with pytest.raises(AssertionError, match="startupProbe"):
            check_knatives_fields(service, CONTAINER_FIELDS)


def test_what_cloud_runs_template_names_is_what_the_script_makes() -> None:
    template, text = yaml.safe_load(render.TEMPLATE.read_text()), render.TEMPLATE.read_text()
    by_hand = template["spec"]["template"]["spec"]
    settings = Settings(project="my-project")
    made = render.service(settings, "image@sha256:0", "https://host")["spec"]["template"]["spec"]
    assert made["serviceAccountName"] == settings.account
    assert settings.account == "gpt2-runtime@my-project.iam.gserviceaccount.com"
    assert by_hand["serviceAccountName"].replace("PROJECT", "my-project") == settings.account
    # The account that the header has made, and the secret that it has filled.
    assert f"service-accounts create {settings.account.partition('@')[0]} " in text
    assert f"--member=serviceAccount:{by_hand['serviceAccountName']} " in text
    assert "volumes" not in by_hand, "without its secret it would not start"
    keys = yaml.safe_load(with_keys(text))["spec"]["template"]["spec"]["volumes"]
    assert [volume["secret"]["secretName"] for volume in keys] == ["gpt2-api-keys"]
    assert "gcloud secrets create gpt2-api-keys " in text


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


WAYS = ("--public", "--delete", "--always-cpu")
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
    ways = {way: (way, "--dry-run", *(more if way == "--public" else ())) for way in WAYS}
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
    assert len(found) > (4 if kind == "written" else 7), lines
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


def measured(streams: int) -> tuple[float, float]:
    """Over HTTP: tokens a second once begun, and seconds that each text takes up until then."""
    results = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())
    wanted = ("decode", "gpt2-torchserve int8", "http", streams, 64)
    rates = {
        row["prefill_counted"]: (row["tokens_per_second"], row["new_tokens"])
        for row in results["rows"]
        if row["model"].startswith("gpt2 (")
        and tuple(row[k] for k in ("section", "system", "path", "streams", "prompt_tokens"))
        == wanted
    }
    (rate, tokens), (whole, _) = rates[False], rates[True]
    return rate, tokens / whole - (tokens - 1) / rate  # bench/speed.py: B n / t(n), B (n - 1) / ...


def test_the_costs_are_what_the_formula_gives_for_the_measured_speeds() -> None:
    page = COST.read_text()
    prices = {
        cells[1]: float(cells[2])
        for cells in ([cell.strip() for cell in line.split("|")] for line in page.splitlines())
        if len(cells) > 3 and re.fullmatch(r"0\.?\d*", cells[2])
    }

    def second(way: str, cpus: int = 2) -> float:
        return cpus * prices[f"vCPU-second, {way}"] + 2 * prices[f"GiB-second, {way}"]

    def row(begin: str) -> list[str]:
        [line] = [line for line in page.splitlines() if line.startswith(f"| {begin} |")]
        return [cell.strip() for cell in line.split("|")][2:-1]

    request = prices["a million requests, by the request"] / 1e6
    active, idle = second("active, by the request"), second("idle, kept warm")
    boost = 10 * 2 * prices["vCPU-second, active, by the request"]
    start = 3 * second("active, by the request", cpus=4) + boost
    instance = second("by the instance")
    for words in (
        f"active second is ${active:.6f}",
        f"idle warm\none ${idle:.5f}",
        f"by the instance ${instance:.5f}",
        f"a start ${start:.4f}",
        f"(1 - a) * {idle:.5f}` a second by the request, {instance:.5f} by the instance",
        f"above `a` = {(instance - idle) / (active - idle):.1f}",
    ):
        assert words in page, words
    for streams, way in ((1, "one after the other"), (8, "8 at a time"), (32, "32 at a time")):
        rate, first = measured(streams)
        each = first + 49 / rate
        cost = 1000 * (each * active + request)
        warm = cost + (86_400 - 1000 * each) * idle
        assert row(way) == [
            *(f"{rate:.0f}", f"{each:.2f} s", f"{1000 * each:.0f}"),
            *(f"${cost:.4f}", f"${cost + start:.4f}", f"${warm:.3f}"),
        ]
    assert f"cost about {100 * cost:.1f} cents when they come" in (ROOT / "README.md").read_text()
    month = 2_628_000
    assert row("one kept warm, `--min-instances 1`")[0] == f"${month * idle:.0f}"
    always = "one by the instance, `--min-instances 1 --always-cpu`"
    assert row(always)[0].startswith(f"${month * instance:.0f},")
    assert row("boost on (default)")[0] == f"a start ${start:.4f}"
    assert row("boost off (annotation in `service.yaml`)")[0] == f"a start ${3 * active:.5f}"
    texts = 3 * month / each
    assert f"= ${3 * month * active:.0f} a month" in page
    assert f"they would write {texts / 1e6:.0f} million" in page
    assert f"which is ${texts * request:.0f} for the requests" in page

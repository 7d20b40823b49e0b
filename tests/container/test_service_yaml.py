"""Cloud Run's and Knative's YAML against the published types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud import run_v2
from google.protobuf import json_format

from deploy import render
from deploy.settings import CONCURRENCY, Settings
from tests.conftest import ROOT
from tests.container.conftest import Contract
from tests.kubernetes_types import fault_of, newest_version

KNATIVE = ROOT / "deploy" / "knative" / "service.yaml"
# Knative's schema is in no package. These are from its specification (what knative/serving's
# hack/schemapatch-config.yaml lets through): the revision's own fields, of Kubernetes' these alone.
# Fields behind feature flags are left out.
KNATIVE_FIELDS = {"containerConcurrency", "timeoutSeconds"}
POD_FIELDS = {"containers", "enableServiceLinks", "serviceAccountName", "volumes"}
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
    made = list(services(keys))
    for service in made:
        assert set(service) == {"apiVersion", "kind", "metadata", "spec"}
        assert (service["apiVersion"], service["kind"]) == ("serving.knative.dev/v1", "Service")
        revision = service["spec"]["template"]["spec"]
        pod = {key: value for key, value in revision.items() if key in POD_FIELDS}
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod}
        assert not fault_of(whole)
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
        f"{len(made)} services; Kubernetes {newest_version()}, google-cloud-run 2",
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
    assert ours["spec"]["template"]["spec"]["enableServiceLinks"] is False
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

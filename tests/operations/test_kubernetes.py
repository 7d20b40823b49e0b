"""Kubernetes' YAML and the Helm chart, judged by the tools and types that people have."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
import yaml

from gateway.settings import Settings
from tests.operations.kubernetes import ROOT, Json, faults, made_by, run

HERE = ROOT / "deploy" / "kubernetes"
CHART = "deploy/helm/gpt2"
OVERLAYS = sorted(path.name for path in (HERE / "overlays").iterdir())
QUEUE = ("--set", "autoscaling.by=queue", "--set", "monitoring.enabled=true")
KEYS = ("--set", "keys.secret=gpt2-keys")
CHARTS = [(), QUEUE, KEYS, ("--set", "autoscaling.by=none"), (*QUEUE, *KEYS)]
# docs/container.md: 32 full contexts of GPT-2 small.
PEAK_MIB = 1060
SECONDS_TO_END = 2
# Labels that name a release.
HELMS = re.compile(r" *(helm\.sh/chart|app\.kubernetes\.io/(instance|version|managed-by)): .*\n")
# What a platform, and no setting of ours, reads.
OTHERS = {"PORT"}


@cache
def overlay(name: str) -> list[Json]:
    return made_by("kubectl", "kustomize", f"deploy/kubernetes/overlays/{name}")


@cache
def chart(options: tuple[str, ...] = ()) -> list[Json]:
    return made_by("helm", "template", "gpt2", CHART, *options)


def all_documents() -> list[tuple[str, Json]]:
    sources = [(name, overlay(name)) for name in OVERLAYS]
    sources += [(f"chart {' '.join(options)}", chart(options)) for options in CHARTS]
    return [(name, document) for name, documents in sources for document in documents]


def containers(document: Json) -> list[Json]:
    """The containers of whatever has some."""
    spec = document["spec"]
    for way in (("template", "spec"), ("predictor",), ()):
        inner = spec
        for name in way:
            inner = inner.get(name, {})
        if "containers" in inner:
            found: list[Json] = inner["containers"]
            return found
    return []


def of_kind(documents: list[Json], kind: str) -> Json:
    [found] = [each for each in documents if each["kind"] == kind]
    return found


def test_every_document_fits_its_published_type() -> None:
    judged: dict[str, list[str]] = {}
    for name, document in all_documents():
        judged[f"{name}: {document['kind']}"] = faults(document)
    kinds = {name.rpartition(" ")[2] for name in judged}
    assert kinds >= {"Deployment", "ScaledObject", "InferenceService", "ServingRuntime"}
    assert kinds >= {"HorizontalPodAutoscaler", "NetworkPolicy", "ServiceMonitor", "PrometheusRule"}
    assert {name: found for name, found in judged.items() if found} == {}


@pytest.mark.parametrize(
    ("name", "kind", "way"),
    [
        ("plain", "Deployment", ("spec", "template", "spec", "containers", 0, "ports", 0)),
        ("plain", "HorizontalPodAutoscaler", ("spec",)),
        ("keda", "ScaledObject", ("spec", "triggers", 0)),
        ("keda", "ServiceMonitor", ("spec", "endpoints", 0)),
        ("keda", "PrometheusRule", ("spec", "groups", 0, "rules", 0)),
        ("knative", "Service", ("spec", "template", "spec")),
        ("kserve-pvc", "ServingRuntime", ("spec", "supportedModelFormats", 0)),
        ("kserve-pvc", "ServingRuntime", ("spec", "containers", 0, "startupProbe")),
        ("kserve-oci", "InferenceService", ("spec", "predictor", "model")),
        ("kserve-image", "InferenceService", ("spec", "predictor", "containers", 0)),
    ],
)
def test_a_field_that_is_no_field_would_be_found(
    name: str, kind: str, way: tuple[str | int, ...]
) -> None:
    document = deepcopy(of_kind(overlay(name), kind))
    inner: Any = document
    for step in way:
        inner = inner[step]
    inner["mistyped"] = "x"
    assert any("mistyped" in fault for fault in faults(document))


def test_the_chart_passes_helms_own_judgement() -> None:
    for options in CHARTS:
        done = run("helm", "lint", "--strict", CHART, *options)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("replicas=-1", "replicas"),
        ("autoscaling.by=hope", "autoscaling/by"),
        ("autoscaling.maxReplicas=0", "maxReplicas"),
        ("image.digest=abc", "digest"),
        ("imagee.tag=1", "imagee"),
        ("settings.max_waiting=3", "max_waiting"),
        ("service.port=70000", "port"),
        ("monitoring.interval=soon", "interval"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(option: str, words: str) -> None:
    done = run("helm", "template", "gpt2", CHART, "--set", option)
    assert done.returncode != 0 and words in done.stderr


def plain(document: Json) -> Json:
    """A document without what Helm adds to name a release."""
    text = yaml.safe_dump(document)
    text = re.sub(
        r" *(helm\.sh/chart|app\.kubernetes\.io/(instance|version|managed-by)): .*\n", "", text
    )
    bare: Json = yaml.safe_load(text)
    bare["metadata"].pop("labels", None)
    for container in containers(bare) if "spec" in bare else ():
        container.pop("image")
        container.pop("imagePullPolicy", None)
        container["env"].sort(key=lambda each: each["name"])
    if bare["kind"] == "Service":
        bare["spec"].pop("type", None)
    return bare


def test_the_chart_and_the_kustomization_say_the_same() -> None:
    by_helm = {each["kind"]: plain(each) for each in chart()}
    by_kustomize = {each["kind"]: plain(each) for each in overlay("plain")}
    assert by_helm == by_kustomize


def test_settings_that_pods_are_given_are_settings() -> None:
    known = {spec.name.upper() for spec in fields(Settings)} | OTHERS
    for name, document in all_documents():
        for container in containers(document):
            assert {each["name"] for each in container.get("env", [])} <= known, name


def test_probes_ask_routes_that_mean_what_they_are_asked_for() -> None:
    seen = 0
    for name, document in all_documents():
        for container in containers(document):
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for kind, path in (
                ("startupProbe", "/health/ready"),
                ("readinessProbe", "/health/ready"),
                ("livenessProbe", "/health/live"),
            ):
                probe = container.get(kind)
                if probe is None:
                    assert name == "knative" and kind == "startupProbe"  # refused before 1.15
                    continue
                seen += 1
                port = probe["httpGet"]["port"]
                assert probe["httpGet"]["path"] == path, name
                assert ports.get(port, port) == 8080, name
    assert seen > 20


def test_a_pod_has_time_to_drain() -> None:
    for documents in (overlay("plain"), chart()):
        pod = of_kind(documents, "Deployment")["spec"]["template"]["spec"]
        [container] = pod["containers"]
        settings = {each["name"]: each["value"] for each in container["env"]}
        _, pause = container["lifecycle"]["preStop"]["exec"]["command"]
        needed = int(pause) + int(settings["DRAIN_SECONDS"]) + SECONDS_TO_END
        assert needed <= pod["terminationGracePeriodSeconds"]


def test_a_pod_asks_for_what_was_measured_and_may_do_nothing_more() -> None:
    for name, document in all_documents():
        for container in containers(document):
            resources = container["resources"]
            memory = resources["requests"]["memory"]
            assert memory == resources["limits"]["memory"]
            assert int(memory.removesuffix("Gi")) * 1024 > PEAK_MIB
            if name == "knative":  # refuses most of it
                continue
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["allowPrivilegeEscalation"] is False


def test_nothing_but_the_gateways_port_is_let_in() -> None:
    for documents in (overlay("plain"), overlay("keda"), chart()):
        spec = of_kind(documents, "NetworkPolicy")["spec"]
        pod = of_kind(documents, "Deployment")["spec"]["template"]
        assert spec["policyTypes"] == ["Ingress"]
        assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": "http"}]}]
        assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_selectors_find_the_pods() -> None:
    for documents in (overlay("keda"), chart((*QUEUE, *KEYS))):
        deployment, service = (of_kind(documents, kind) for kind in ("Deployment", "Service"))
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        assert service["spec"]["selector"].items() <= labels.items()
        monitor = of_kind(documents, "ServiceMonitor")["spec"]
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["jobLabel"]] == "gpt2"  # the alerts' job
        scaled = of_kind(documents, "ScaledObject")["spec"]["scaleTargetRef"]["name"]
        assert scaled == deployment["metadata"]["name"]


def test_the_operators_alerts_are_the_alerts() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
    for documents in (overlay("keda"), chart(QUEUE)):
        assert of_kind(documents, "PrometheusRule")["spec"] == rules


def test_keys_are_files_of_a_secret_that_the_user_can_read() -> None:
    for documents in (overlay("keda"), chart(KEYS)):
        pod = of_kind(documents, "Deployment")["spec"]["template"]["spec"]
        [container] = pod["containers"]
        settings = {each["name"]: each["value"] for each in container["env"]}
        mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        [secret] = [each for each in pod["volumes"] if "secret" in each]
        assert settings["API_KEYS_FILE"] == f"{mounts[secret['name']]}/api-keys"
        assert settings["MANAGEMENT_KEY_FILE"] == f"{mounts[secret['name']]}/management-key"
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
        assert secret["secret"]["defaultMode"] == 0o440

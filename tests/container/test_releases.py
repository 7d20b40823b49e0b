"""Several regions, a side-car, and new revisions that are tried: against a `gcloud` that plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud import run_v2
from google.protobuf import json_format

from deploy import collector, render, traffic
from deploy.settings import DeployError, Settings
from gateway.settings.settings import Settings as Service
from tests.container.cloud import Cloud, Front, front
from tests.kubernetes_types import fault_of

DOMAIN = ("--regions", "us-central1", "--domain", "gpt2.example.com")
OTHER = "1" * 64


@pytest.fixture
def service() -> Iterator[Front]:
    with front(Front()) as made:
        yield made


@pytest.fixture
def cloud(tmp_path: Path, service: Front) -> Cloud:
    return Cloud(tmp_path, service.url)


def commands(printed: str) -> list[str]:
    """What a dry run prints of commands."""
    parts = [part for line in printed.splitlines() for part in line.split(" || ")]
    return [part.partition("  #")[0] for part in parts if part.startswith("gcloud ")]


def test_one_name_for_two_regions(cloud: Cloud) -> None:
    done = cloud.deploy(*DOMAIN, "--public", "--yes")
    assert done.returncode == 0, done.stderr
    assert "Point gpt2.example.com to 192.0.2.1" in done.stdout
    for region in ("europe-west1", "us-central1"):
        container = cloud.service(region)["spec"]["template"]["spec"]["containers"][0]
        assert {"name": "HOST", "value": "https://gpt2.example.com"} in container["env"]
        assert container["image"].startswith("europe-west1-docker.pkg.dev/")
    made = cloud.kept("compute")
    assert sorted(each.split()[0] for each in made) == sorted(
        [
            *("addresses", "backend-services", "forwarding-rules", "url-maps"),
            *("network-endpoint-groups", "network-endpoint-groups"),
            *("ssl-certificates", "target-https-proxies"),
        ]
    )
    assert cloud.kept("backends") == ["europe-west1", "us-central1"]
    assert cloud.deploy(*DOMAIN, "--public", "--yes").returncode == 0
    assert cloud.kept("compute") == made and len(cloud.kept("backends")) == 2
    assert cloud.deploy(*DOMAIN, "--delete", "--yes").returncode == 0
    assert cloud.kept("compute") == []


@pytest.mark.parametrize("words", [DOMAIN, ("--collector",), ("--canary", "10")])
def test_a_dry_run_prints_what_a_real_one_does(words: tuple[str, ...], cloud: Cloud) -> None:
    assert cloud.deploy("--public", "--yes").returncode == 0
    cloud.calls()
    dry = cloud.deploy(*words, "--public", "--dry-run")
    assert dry.returncode == 0 and cloud.calls() == []
    # Names of files and revisions differ.
    printed = {" ".join(line.split()[:4]) for line in commands(dry.stdout)}
    assert cloud.deploy(*words, "--public", "--yes").returncode == 0
    called = {f"gcloud {' '.join(call.split()[:3])}" for call in cloud.calls()}
    assert called <= printed


def test_a_new_revision_is_tried_before_it_gets_a_share(cloud: Cloud, service: Front) -> None:
    assert cloud.deploy("--canary", "10", "--public", "--yes").returncode == 0
    assert cloud.kept("traffic") == [{"revisionName": "gpt2-00001", "percent": 100}]  # the first
    done = cloud.deploy("--canary", "10", "--public", "--yes", "--model-digest", service.model)
    assert done.returncode == 0, done.stderr
    assert cloud.service()["spec"]["traffic"] == [
        {"revisionName": "gpt2-00001", "percent": 100},
        {"latestRevision": True, "percent": 0, "tag": "candidate"},
    ]
    assert [each["percent"] for each in cloud.kept("traffic")] == [90, 10]
    assert f"it serves the model {service.model}" in done.stdout
    assert "--rollback to gpt2-00001" in done.stdout
    assert cloud.deploy("--rollback").returncode == 0
    assert cloud.kept("traffic") == [{"revisionName": "gpt2-00001", "percent": 100}]
    assert cloud.deploy("--promote").returncode == 0
    assert cloud.kept("traffic") == [{"revisionName": "gpt2-00002", "percent": 100}]
    assert cloud.deploy("--rollback").returncode == 0  # now the one before
    assert cloud.kept("traffic") == [{"revisionName": "gpt2-00001", "percent": 100}]


def test_one_that_serves_another_model_gets_no_request(cloud: Cloud, service: Front) -> None:
    assert cloud.deploy("--public", "--yes").returncode == 0
    done = cloud.deploy("--canary", "10", "--public", "--yes", "--model-digest", OTHER)
    assert done.returncode == 1
    assert f"another model is served: content_sha256 {service.model}, not {OTHER}" in done.stderr
    assert not any("update-traffic" in call for call in cloud.calls())
    assert cloud.kept("traffic") == [{"revisionName": "gpt2-00001", "percent": 100}]


def test_back_from_the_first_is_no_way(cloud: Cloud) -> None:
    assert cloud.deploy("--public", "--yes").returncode == 0
    done = cloud.deploy("--rollback")
    assert done.returncode == 1 and "there is no revision before this one" in done.stderr
    assert cloud.deploy("--rollback", "gpt2-00001").returncode == 0


def test_who_serves_is_read_from_what_gcloud_prints() -> None:
    split = [
        {"revisionName": "a", "percent": 90},
        {"revisionName": "b", "percent": 10, "tag": "candidate"},
    ]
    assert traffic.read_serving(json.dumps({"status": {"traffic": split}})) == "a"
    tagged = [{"revisionName": "b", "tag": "candidate"}, {"revisionName": "a", "percent": 100}]
    assert traffic.read_serving(json.dumps({"status": {"traffic": tagged}})) == "a"
    assert traffic.read_serving("") == traffic.read_serving("{}") == ""
    assert traffic.candidate_url("https://gpt2-1.run.app") == "https://candidate---gpt2-1.run.app"


def made_with(**changes: Any) -> dict[str, Any]:
    return render.service(Settings(project="my-project", **changes), "image@sha256:0", "https://a")


def test_the_side_car_fits_the_published_types() -> None:
    revision = made_with(collector=True)["spec"]["template"]
    pod = {name: revision["spec"][name] for name in ("containers", "volumes")}
    assert not fault_of({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod})
    ours, theirs = (
        json_format.ParseDict(container, run_v2.Container.pb(run_v2.Container()))
        for container in pod["containers"]
    )
    assert [len(ours.ports), len(theirs.ports)] == [1, 0]  # one container takes requests
    assert theirs.startup_probe.http_get.port == collector.HEALTH_PORT
    before = revision["metadata"]["annotations"]["run.googleapis.com/container-dependencies"]
    assert json.loads(before) == {ours.name: [theirs.name]}
    assert {"OTEL_EXPORTER_OTLP_ENDPOINT"} <= {each.name for each in ours.env}


def test_the_side_car_is_told_where_the_service_is() -> None:
    config = yaml.safe_load(collector.CONFIG.read_text())
    parts = {"receivers", "processors", "exporters"}
    for pipeline in config["service"]["pipelines"].values():
        for part in parts:
            assert set(pipeline[part]) <= set(config[part]), part
    used = {each for p in config["service"]["pipelines"].values() for each in p["processors"]}
    assert used == set(config["processors"])
    [scrape] = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"localhost:{Service().port}"]}]
    endpoint = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert f"http://{endpoint}" == collector.OTLP
    assert config["extensions"]["health_check"]["endpoint"].endswith(f":{collector.HEALTH_PORT}")


def test_the_side_car_gets_its_rights_and_its_image_the_packages(cloud: Cloud) -> None:
    assert cloud.deploy("--collector", "--public", "--yes").returncode == 0
    calls = cloud.calls()
    [build] = [call for call in calls if call.startswith("builds submit")]
    assert "_GROUPS=serve trace" in build
    for role in collector.ROLES:
        assert any(call.startswith("projects add-iam") and role in call for call in calls)
    assert cloud.deploy("--collector", "--delete", "--yes").returncode in (0, 1)
    gone = cloud.calls()
    for role in collector.ROLES:
        assert any(call.startswith("projects remove-iam") and role in call for call in gone)
    assert any(call.startswith("secrets delete gpt2-collector") for call in gone)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"regions": ("us-central1",)}, "--regions and --domain go together"),
        ({"domain": "a.example.com"}, "--regions and --domain go together"),
        ({"regions": ("europe-west1",), "domain": "a.example.com"}, "each region once"),
        ({"regions": ("us-central1",), "domain": "example"}, "is not a name such as"),
        ({"regions": ("a", "b"), "domain": "a.example.com", "canary": 5}, "region by region"),
        ({"canary": 100}, "1 to 99"),
        ({"model_digest": "abc"}, "64 digits"),
        ({"platform": "vertex-ai", "collector": True}, "are Cloud Run's"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DeployError, match=says):
        Settings(project="my-project", **changes)

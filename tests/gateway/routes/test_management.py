"""Every request of TorchServe's management page and its test collection, asked of the gateway."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.gateway.conftest import (
    MANAGEMENT_KEY,
    Service,
    StartService,
    change_archive,
    wait_until,
)
from tests.patience import PATIENCE

METADATA = {"precision", "shape", "content_sha256", "quality", "limits", "context_length"}


@pytest.fixture(scope="module")
def store(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an archive without a configuration, besides."""
    made = tmp_path_factory.mktemp("managed")
    shutil.copy(model_store / "gpt2.mar", made)
    manifest = ("MAR-INF/MANIFEST.json", '"configFile"', '"noFile"')
    change_archive(made / "gpt2.mar", made / "untimed.mar", *manifest)
    return made


@pytest.fixture(scope="module")
def managed(start_service: StartService, store: Path) -> Service:
    return start_service(store=store, MAX_REPLICAS="2", THREADS_PER_REPLICA="1", MAX_RESTARTS="1")


def removed(service: Service, name: str) -> None:
    reply = service.manage("DELETE", f"/models/{name}")
    assert reply.status_code == 200, reply.text


def test_registering_takes_every_documented_parameter(managed: Service) -> None:
    """As a query and as JSON; what can act does, what cannot is named in the note."""
    asked = {
        "url": "gpt2.mar",
        "model_name": "asked",
        "handler": "gpt2_handler.py",
        "runtime": "PYTHON",
        "batch_size": 4,
        "max_batch_delay": 50,
        "initial_workers": 1,
        "synchronous": "true",
        "response_timeout": 60,
        "startup_timeout": 90,
        "number_gpu": 0,
        "s3_sse_kms": "false",
    }
    said = []
    for options in ({"params": asked}, {"json": asked | {"synchronous": True}}):
        made = managed.manage("POST", "/models", **options)
        assert made.status_code == 200, made.text
        try:
            said.append(made.json())
            reply = managed.complete(model="asked", max_tokens=2)
            assert reply.status_code == 200, reply.text
        finally:
            removed(managed, "asked")
    assert said[0] == said[1]
    assert said[0]["status"] == 'Model "asked" Version: 1.0 registered with 1 initial workers'
    named = {"batch_size", "max_batch_delay", "runtime", "number_gpu", "s3_sse_kms"}
    for name in named | {"response_timeout", "startup_timeout"}:
        assert f"`{name}` has no effect" in said[0]["note"]


def test_times_act_where_the_archive_has_no_configuration(managed: Service) -> None:
    query = "/models?url=untimed.mar&model_name=timed&response_timeout=60&startup_timeout=90"
    made = managed.manage("POST", query)
    assert made.status_code == 200 and "note" not in made.json(), made.text
    described = managed.manage("GET", "/models/timed").json()[0]
    assert (described["responseTimeout"], described["startupTimeout"]) == (60, 90)
    removed(managed, "timed")


def test_a_query_beside_a_body_has_no_effect_and_is_named(managed: Service) -> None:
    body = {"url": "gpt2.mar", "model_name": "bodied", "initial_workers": 0}
    made = managed.manage("POST", "/models?url=other.mar&initial_workers=1", json=body)
    assert made.status_code == 200 and "query" in made.json()["note"]
    assert managed.manage("GET", "/models/bodied").json()[0]["workers"] == []
    removed(managed, "bodied")


def test_registering_without_waiting_is_answered_at_once(managed: Service) -> None:
    """From then on the model is there: it is loading, until it serves."""
    query = "/models?url=gpt2.mar&model_name=later&synchronous=false&initial_workers=1"
    begun = managed.manage("POST", query)
    assert (begun.status_code, begun.json()["status"]) == (202, "Processing worker updates...")
    (described,) = managed.manage("GET", "/models/later").json()
    assert len(described["workers"]) == 1 and described["modelUrl"] == "gpt2.mar"
    assert managed.manage("POST", query).status_code == 409
    for path, body in (
        ("/predictions/later", {"data": "Once"}),
        ("/predictions/later/1.0", {"data": "Once"}),
        ("/v1/completions", {"model": "later", "prompt": "Once"}),
    ):
        refused = managed.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "loading"), path
    assert managed.get("/v2/models/later/ready").status_code == 503
    assert managed.get("/v1/models/later").json()["ready"] is False
    wait_until(lambda: managed.complete(model="later", max_tokens=1).status_code == 200)
    assert managed.manage("POST", query).status_code == 409
    removed(managed, "later")


def test_no_workers_is_a_state_until_there_are_some(managed: Service) -> None:
    made = managed.manage("POST", "/models?url=gpt2.mar&model_name=idle&initial_workers=0")
    assert made.status_code == 200 and "0 initial workers" in made.json()["status"]
    (described,) = managed.manage("GET", "/models/idle").json()
    assert (described["workers"], described["minWorkers"]) == ([], 0)
    refused = managed.post("/predictions/idle", data="Once")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "no_workers"
    assert (refused.json()["code"], refused.json()["type"]) == (503, "ServiceUnavailableException")
    scaled = managed.manage("PUT", "/models/idle?min_worker=1&synchronous=true")
    assert scaled.json() == {"status": "Workers scaled to 1 for model: idle"}
    assert managed.post("/predictions/idle", data="Once").status_code == 200
    removed(managed, "idle")


def assert_at_rest(service: Service) -> None:
    ready, ping = service.get("/health/ready"), service.get("/ping")
    assert (ready.status_code, ready.json()) == (503, {"status": "scaled to 0 workers"})
    assert (ping.status_code, ping.json()) == (500, {"status": "Unhealthy"})
    assert service.get("/health/live").status_code == 200
    for reply in (service.complete(), service.post("/generate", json={"input": "A"})):
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "no_workers")


def test_the_services_own_model_rests_and_nobody_mends_it(managed: Service) -> None:
    """Kept when TorchServe is started anew; one PUT brings the model back."""
    scaled = managed.manage("PUT", "/models/gpt2?min_worker=0&synchronous=true")
    assert scaled.json() == {"status": "Workers scaled to 0 for model: gpt2"}
    wait_until(lambda: not managed.workers())
    assert_at_rest(managed)
    next(child for child in managed.descendants() if child.name() == "java").kill()
    wait_until(lambda: any("starting it again" in line for line in managed.log))
    wait_until(lambda: managed.manage("GET", "/models").status_code == 200)
    wait_until(lambda: not managed.workers())
    assert_at_rest(managed)
    managed.manage("PUT", "/models/gpt2?min_worker=1&synchronous=true").raise_for_status()
    wait_until(lambda: managed.get("/health/ready").status_code == 200)
    assert managed.get("/ping").json() == {"status": "Healthy"}
    assert managed.complete(max_tokens=2).status_code == 200


def test_a_most_that_is_not_passed_leaves_the_workers_there_are(managed: Service) -> None:
    def scaled(query: str) -> int:
        managed.manage("PUT", f"/models/gpt2?synchronous=true&{query}").raise_for_status()
        return len(managed.manage("GET", "/models/gpt2").json()[0]["workers"])

    assert scaled("min_worker=2") == 2
    assert scaled("min_worker=1&max_worker=4") == 2
    assert scaled("min_worker=1&max_worker=1") == 1
    assert scaled("") == 1


def test_texts_get_the_time_that_timeout_says(managed: Service) -> None:
    managed.manage("POST", "/models?url=gpt2.mar&model_name=hurried").raise_for_status()
    body = {"model": "hurried", "prompt": "A", "max_tokens": 480, "ignore_eos": True}
    with ThreadPoolExecutor(1) as pool:
        with requests.post(
            managed.url + "/v1/completions",
            json=body | {"stream": True},
            stream=True,
            timeout=PATIENCE,
        ) as reply:
            lines = reply.iter_lines(chunk_size=1)
            next(lines)
            gone = pool.submit(managed.manage, "DELETE", "/models/hurried/1.0?timeout=0")
            data = [line for line in lines if line]
        assert gone.result().status_code == 200
    assert b'"removed"' in data[-2] and data[-1] == b"data: [DONE]"


def test_what_a_model_is_is_told_beside_its_workers(managed: Service) -> None:
    for path in ("/models/gpt2", "/models/gpt2/", "/models/gpt2/1.0", "/models/gpt2/all"):
        plain = managed.manage("GET", path).json()[0]
        found = managed.manage("GET", f"{path}?customized=true").json()[0]
        assert found["customizedMetadata"].keys() >= METADATA
        assert "customizedMetadata" not in plain and found["modelName"] == "gpt2"
    assert managed.complete(max_tokens=1).status_code == 200


def test_a_long_list_has_pages(managed: Service) -> None:
    for name in ("one", "two"):
        query = f"/models?url=gpt2.mar&model_name={name}&initial_workers=0"
        managed.manage("POST", query).raise_for_status()
    token, names = "", []
    while token is not None:
        page = managed.manage("GET", f"/models?limit=2&next_page_token={token}").json()
        names += [entry["modelName"] for entry in page["models"]]
        token = page.get("nextPageToken")
    assert names == ["gpt2", "one", "two"]
    assert managed.manage("GET", "/models?next_page_token=12").json() == {"models": []}
    for name in ("one", "two"):
        removed(managed, name)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models?limit=&next_page_token=", 200),
        ("GET", "/models/gpt2?customized=", 200),
        ("PUT", "/models/gpt2", 202),
        ("PUT", "/models/gpt2?min_worker=1", 202),
        ("PUT", "/models/gpt2?min_worker=1&number_gpu=0", 202),
        ("PUT", "/models/gpt2?min_worker=1&max_worker=1&synchronous=false", 202),
        ("PUT", "/models/gpt2?timeout=-1", 202),
        ("PUT", "/models/gpt2?timeout=0", 202),
        ("PUT", "/models/gpt2/1.0?min_worker=1&synchronous=true", 200),
        ("PUT", "/models/gpt2?model_version=1.0&synchronous=True", 200),
        ("PUT", "/models/gpt2/1.0/set-default", 200),
    ],
)
def test_what_torchserves_pages_and_tests_ask_is_taken(
    managed: Service, method: str, path: str, status: int
) -> None:
    reply = managed.manage(method, path)
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "param"),
    [
        ("POST", "/models", 400, "BadRequestException", "url"),
        ("POST", "/models?url=&model_name=a", 400, "BadRequestException", "url"),
        ("POST", "/models?url=no.mar", 404, "ResourceNotFoundException", "url"),
        ("POST", "/models?url=https://example.com/a.mar", 400, "BadRequestException", "url"),
        ("POST", "/models?url=gpt2.mar", 409, "ConflictStatusException", None),
        ("POST", "/models?url=gpt2.mar&runtime=python4", 400, "BadRequestException", "runtime"),
        ("POST", "/models?url=gpt2.mar&handler=other", 400, "BadRequestException", "handler"),
        (
            *("POST", "/models?url=gpt2.mar&handler=serve/torch_handler/text.py:handle"),
            *(400, "BadRequestException", "handler"),
        ),
        ("POST", "/models?url=gpt2.mar&batch_size=dd", 400, "BadRequestException", "batch_size"),
        (
            *("POST", "/models?url=gpt2.mar&max_batch_delay=junk"),
            *(400, "BadRequestException", "max_batch_delay"),
        ),
        (
            *("POST", "/models?url=gpt2.mar&initial_workers=-1"),
            *(400, "BadRequestException", "initial_workers"),
        ),
        (
            *("POST", "/models?url=gpt2.mar&startup_timeout=0"),
            *(400, "BadRequestException", "startup_timeout"),
        ),
        ("POST", "/models?url=gpt2.mar&number_gpu=1", 400, "BadRequestException", "number_gpu"),
        ("POST", "/models?url=gpt2.mar&s3_sse_kms=true", 400, "BadRequestException", "s3_sse_kms"),
        ("POST", "/models?url=gpt2.mar&batchsize=4", 400, "BadRequestException", "batchsize"),
        ("PUT", "/models/gpt2?number_gpu=10", 400, "BadRequestException", "number_gpu"),
        ("PUT", "/models/gpt2?number_gpu=-1", 400, "BadRequestException", "number_gpu"),
        ("PUT", "/models/gpt2?min_worker=2&max_worker=1", 400, "BadRequestException", "max_worker"),
        ("PUT", "/models/gpt2?min_worker=-1", 400, "BadRequestException", "min_worker"),
        ("PUT", "/models/gpt2?max_worker=-1", 400, "BadRequestException", "max_worker"),
        ("PUT", "/models/gpt2?synchronous=Nan", 400, "BadRequestException", "synchronous"),
        ("PUT", "/models/gpt2?timeout=true", 400, "BadRequestException", "timeout"),
        ("PUT", "/models/gpt2?minworker=1", 400, "BadRequestException", "minworker"),
        ("PUT", "/models/gpt2/0.0?min_worker=1", 404, "ModelVersionNotFoundException", "model"),
        ("PUT", "/models/other?min_worker=1", 404, "ModelNotFoundException", "model"),
        ("PUT", "/models/gpt2/0.0/set-default", 404, "ModelVersionNotFoundException", "model"),
        ("PUT", "/models/other/1.0/set-default", 404, "ModelNotFoundException", "model"),
        ("GET", "/models/other", 404, "ModelNotFoundException", "model"),
        ("GET", "/models/gpt2/0.0", 404, "ModelVersionNotFoundException", "model"),
        ("GET", "/models?limit=-1", 400, "BadRequestException", "limit"),
        ("GET", "/models?next_page_token=-1", 400, "BadRequestException", "next_page_token"),
        ("DELETE", "/models/other", 404, "ModelNotFoundException", "model"),
        ("DELETE", "/models/other/?synchronous=true", 404, "ModelNotFoundException", "model"),
        ("DELETE", "/models/gpt2?timeout=true", 400, "BadRequestException", "timeout"),
        ("DELETE", "/models/gpt2/0.0", 404, "ModelVersionNotFoundException", "model"),
        ("DELETE", "/models/gpt2", 409, "ConflictStatusException", None),
        ("PATCH", "/models/gpt2", 405, "MethodNotAllowedException", None),
        ("POST", "/explanations/other", 404, "ModelNotFoundException", "model"),
        ("POST", "/explanations/gpt2", 501, "InternalServerException", None),
        ("POST", "/explanations/gpt2/1.0", 501, "InternalServerException", None),
        ("POST", "/predictions/other", 404, "ModelNotFoundException", "model"),
    ],
)
def test_a_refusal_has_torchserves_words_and_ours(
    managed: Service, method: str, path: str, status: int, kind: str, param: str | None
) -> None:
    reply = managed.manage(method, path)
    assert reply.status_code == status, reply.text
    said = reply.json()
    assert (said["code"], said["type"]) == (status, kind)
    assert said["message"] == said["error"]["message"]
    assert said["error"]["param"] == param


def test_what_the_handler_refuses_has_them_too(managed: Service) -> None:
    reply = managed.post("/predictions/gpt2", json={"prompt": "x", "temperature": 9})
    said = reply.json()
    assert (reply.status_code, said["code"], said["type"]) == (400, 400, "BadRequestException")
    assert said["error"]["param"] == "temperature"
    assert "code" not in managed.complete(temperature=9).json()


@pytest.mark.parametrize(
    ("body", "content_type", "param"),
    [
        (b"url=gpt2.mar", "application/x-www-form-urlencoded", "content-type"),
        (b"{", "application/json", None),
        (b'{"url": ["gpt2.mar"]}', "application/json", "url"),
        (b'{"url": "gpt2.mar", "initial_workers": 1.5}', "application/json", "initial_workers"),
        (b'{"url": "gpt2.mar", "batchsize": 2}', "application/json", "batchsize"),
    ],
)
def test_a_body_that_holds_no_parameters_is_refused(
    managed: Service, body: bytes, content_type: str, param: str | None
) -> None:
    headers = {"x-api-key": MANAGEMENT_KEY, "content-type": content_type}
    reply = requests.post(managed.url + "/models", data=body, headers=headers, timeout=PATIENCE)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param


def test_the_description_is_given_on_torchserves_ways(managed: Service) -> None:
    whole = managed.get("/openapi.json").json()
    assert requests.options(managed.url + "/", timeout=PATIENCE).json() == whole
    assert managed.get("/api-description").json() == whole
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    for path in ("/", "/predictions/gpt2"):
        refused = requests.options(managed.url + path, headers=preflight, timeout=PATIENCE)
        assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


def test_what_a_model_takes_is_told_by_options(managed: Service) -> None:
    whole = managed.get("/openapi.json").json()
    for path in ("/predictions/gpt2", "/predictions/gpt2/1.0"):
        told = requests.options(managed.url + path, timeout=PATIENCE).json()
        assert told | {"paths": whole["paths"]} == whole
        assert told["paths"] == {
            path: each for path, each in whole["paths"].items() if path.startswith("/predictions/")
        }
    unknown = requests.options(managed.url + "/predictions/other", timeout=PATIENCE)
    assert (unknown.status_code, unknown.json()["type"]) == (404, "ModelNotFoundException")


def test_metrics_are_filtered_by_name(managed: Service) -> None:
    managed.complete(max_tokens=1)
    own, torchserves = "gpt2_http_requests_total", "ts_inference_requests_total"
    bucket = "vllm:e2e_request_latency_seconds_bucket"
    query = "&".join(f"name[]={name}" for name in (own, torchserves, bucket))
    lines = managed.get(f"/metrics?{query}").text.splitlines()
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert names == {own, torchserves, bucket}
    assert managed.get("/metrics?name%5B%5D=nothing").text == ""
    assert len(managed.get("/metrics").text.splitlines()) > len(lines)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_whoever_has_no_key_changes_nothing(managed: Service, method: str) -> None:
    path = "/models" if method == "POST" else "/models/gpt2/"
    reply = requests.request(method, managed.url + path, json={"url": "gpt2.mar"}, timeout=PATIENCE)
    assert reply.status_code == 401
    assert reply.json()["type"] == "InvalidKeyException"

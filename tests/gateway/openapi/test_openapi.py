"""The description of the interface holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from gateway.openapi.document import describe
from gateway.settings import Settings
from handler.requests.schema import CompletionRequest
from tests.gateway.conftest import MANAGEMENT_KEY, Service, StartService, wait_until
from tests.patience import PATIENCE


@pytest.fixture(scope="module")
def small(start_service: StartService) -> Service:
    return start_service(MAX_TOKENS_PER_REQUEST="5", MAX_REPLICAS="1")


@pytest.fixture(scope="module")
def keyed(start_service: StartService) -> Service:
    return start_service(MAX_TOKENS_PER_REQUEST="5", API_KEYS="visitor:visitors-key")


def test_the_description_names_every_field_the_handler_takes(service: Service) -> None:
    document = service.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    fields = document["components"]["schemas"]["CompletionRequest"]["properties"]
    assert set(fields) == set(CompletionRequest.model_fields)


def test_every_example_of_the_description_works(service: Service) -> None:
    document = service.get("/openapi.json").json()
    tried = 0
    for path, methods in document["paths"].items():
        address = path.replace("{model}", "gpt2").replace("{version}", "1.0")
        for method in ("post", "put"):
            content = methods.get(method, {}).get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                url = service.url + address
                reply = requests.request(method, url, json=example["value"], timeout=PATIENCE)
                if "messages" in example["value"]:  # the embedded model has no chat template
                    assert reply.json()["error"]["code"] == "no_chat_template"
                    continue
                assert reply.status_code == 200, (method, path, reply.text)
                tried += 1
    assert tried >= 30


def test_the_description_names_every_route(service: Service) -> None:
    described = service.get("/openapi.json").json()["paths"]
    names = [
        operation["operationId"] for methods in described.values() for operation in methods.values()
    ]
    assert len(set(names)) == len(names)  # generated clients name their functions by them
    for path in ("/", "/docs", "/openapi.json", "/metrics", "/generate", "/models/{model}/all"):
        assert path in described
    for version in ("", "/{version}"):
        for path in (
            "",
            "/v1/completions",
            "/v1/chat/completions",
            "/v1/tokenize",
            "/v1/detokenize",
        ):
            assert {"post", "put"} <= set(described[f"/predictions/{{model}}{version}{path}"])
        assert {"get", "put", "delete"} <= set(described[f"/models/{{model}}{version}"])


def test_the_description_names_the_public_url_where_there_is_one() -> None:
    assert describe(Settings())["servers"] == [{"url": "."}]
    named = describe(Settings(host="https://page.example/tales/"))
    assert named["servers"] == [{"url": "."}, {"url": "https://page.example/tales"}]


def test_the_reference_page_loads_nothing_from_elsewhere(service: Service) -> None:
    page = service.get("/docs")
    assert page.status_code == 200 and "http" not in page.text.replace("http-equiv", "")
    assert service.get("/docs/reference.js").headers["content-type"].startswith("text/javascript")
    assert service.get("/docs/reference.css").status_code == 200


# Operations that are described once, and reached by more than one path.
SAME_BY_ANOTHER_PATH = (
    "completions|chat/completions|embeddings|tokenize|detokenize"
    "|predictions/.*/|v2/models/.*/versions"
)


def generate_requests(service: Service, folder: Path, key: str, *options: str) -> None:
    """Let schemathesis make requests of the description, and hold the replies to it."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    # One worker: in two threads Python 3.11's `ast` fails, which hypothesis reads lambdas with.
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"]
    command += ["--checks", f"{checks},response_schema_conformance"]
    command += ["--request-timeout", str(PATIENCE)]
    command += ["--seed", "1", "--workers", "1", "--header", f"x-api-key: {key}", *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=4 * PATIENCE, cwd=folder
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    if not service.get("/health/ready").ok:  # it was asked for no workers
        service.manage("PUT", "/models/gpt2?min_worker=1&synchronous=true").raise_for_status()
        wait_until(lambda: service.get("/health/ready").ok)


def test_no_generated_request_finds_a_5xx_or_an_undocumented_status(
    small: Service, tmp_path: Path
) -> None:
    generate_requests(
        small,
        tmp_path,
        MANAGEMENT_KEY,
        *("--max-examples", "5", "--phases", "examples,coverage,fuzzing"),
        *("--exclude-path-regex", f"^/(models|explanations|{SAME_BY_ANOTHER_PATH})|explain$"),
    )


def test_nor_does_one_of_management(small: Service, tmp_path: Path) -> None:
    # One replica at most and archives that are not there: what is asked for is judged, and the
    # model stays the service's own, whatever it is scaled to.
    generate_requests(
        small,
        tmp_path,
        MANAGEMENT_KEY,
        *("--max-examples", "3", "--phases", "examples,coverage,fuzzing"),
        *("--include-path-regex", "^/models"),
    )
    assert small.manage("GET", "/models").json()["models"] == [
        {"modelName": "gpt2", "modelUrl": "gpt2.mar"}
    ]


# Explanations are not served: each is a 501.
@pytest.mark.parametrize(
    ("key", "left_out"),
    [
        ("visitors-key", f"explain|^/(explanations|{SAME_BY_ANOTHER_PATH})"),
        ("no-such-key", "explain|^/explanations"),
    ],
)
def test_nor_does_one_of_a_service_with_keys(
    keyed: Service, tmp_path: Path, key: str, left_out: str
) -> None:
    bounds = ("--max-examples", "1", "--phases", "examples,fuzzing")
    generate_requests(keyed, tmp_path, key, *bounds, "--exclude-path-regex", left_out)

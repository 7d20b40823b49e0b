"""The description of the interface holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from handler.schema import CompletionRequest
from tests.gateway.conftest import MANAGEMENT_KEY, Service, StartService


@pytest.fixture(scope="module")
def small(start_service: StartService) -> Service:
    return start_service(MAX_TOKENS_PER_REQUEST="64")


def test_the_description_names_every_field_the_handler_takes(service: Service) -> None:
    document = service.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    fields = document["components"]["schemas"]["CompletionRequest"]["properties"]
    assert set(fields) == set(CompletionRequest.model_fields)


def test_every_example_of_the_description_works(service: Service) -> None:
    document = service.get("/openapi.json").json()
    tried = 0
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            reply = service.post(path.replace("{model}", "gpt2"), json=example["value"])
            assert reply.status_code == 200, (path, reply.text)
            tried += 1
    assert tried >= 8


def test_the_reference_page_loads_nothing_from_elsewhere(service: Service) -> None:
    page = service.get("/docs")
    assert page.status_code == 200 and "http" not in page.text.replace("http-equiv", "")
    assert service.get("/docs/reference.js").headers["content-type"].startswith("text/javascript")
    assert service.get("/docs/reference.css").status_code == 200


def test_no_generated_request_finds_a_5xx_or_an_undocumented_status(
    small: Service, tmp_path: Path
) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{small.url}/openapi.json"]
    command += ["--checks", f"{checks},response_schema_conformance", "--max-examples", "15"]
    command += ["--phases", "examples,coverage,fuzzing", "--seed", "1", "--workers", "2"]
    command += ["--header", f"x-api-key: {MANAGEMENT_KEY}", "--exclude-path-regex", "^/models"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert requests.get(small.url + "/health/ready", timeout=10).status_code == 200

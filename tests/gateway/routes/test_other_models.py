"""A model of another kind beside GPT-2: its requests are its own business, and reach it as sent."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import Service, StartService

HANDLER = """
import json

def handle(data, context):
    rows = [] if data is None else data
    told = []
    for index, row in enumerate(rows):
        kind = context.get_request_header(index, "content-type")
        fields = {name: bytes(value).decode("latin-1") for name, value in row.items()}
        told.append(json.dumps({"type": kind, "fields": fields}))
    return told
"""
MANIFEST = {
    "createdOn": "01/01/2026 00:00:00",
    "runtime": "python",
    "model": {"modelName": "mirror", "modelVersion": "1.0", "handler": "mirror.py"},
    "archiverVersion": "0.12.0",
}


@pytest.fixture(scope="module")
def mirror(
    start_service: StartService, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    store = tmp_path_factory.mktemp("two_models")
    shutil.copy(model_store / "gpt2.mar", store)
    with zipfile.ZipFile(store / "mirror.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(MANIFEST))
        archive.writestr("mirror.py", HANDLER)
    service = start_service(store=store)
    reply = service.manage("POST", "/models?url=mirror.mar&synchronous=true")
    assert reply.status_code == 200, reply.text
    return service


@pytest.mark.parametrize(
    ("options", "kind", "fields"),
    [
        ({"files": {"image": ("kitten.jpg", b"\xff\xd8\x00")}}, "multipart/", {"image": "ÿØ\x00"}),
        ({"data": {"a": "1", "b": "2"}}, "application/x-www-form", {"a": "1", "b": "2"}),
        (
            {"data": b"\xff\xd8", "headers": {"content-type": "image/jpeg"}},
            "image/",
            {"body": "ÿØ"},
        ),
        ({"json": [1, {"a": 2}]}, "application/json", {"body": '[1, {"a": 2}]'}),
    ],
)
def test_what_is_sent_to_another_model_reaches_it(
    mirror: Service, options: dict[str, Any], kind: str, fields: dict[str, str]
) -> None:
    reply = mirror.post("/predictions/mirror", **options)
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert told["type"].startswith(kind)
    assert told["fields"] == fields
    assert mirror.complete().status_code == 200

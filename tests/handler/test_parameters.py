"""What TorchServe's worker makes of a request, put together again as it was sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from ts.service import Service

from handler.requests.question import Asked, Question
from handler.torchserve import parameters

MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    original = Service.__dict__["retrieve_data_for_inference"]
    yield
    Service.retrieve_data_for_inference = original


def sent(*fields: tuple[str, bytes, str]) -> dict[str, Any]:
    """A request as TorchServe's protocol hands it to the worker's service."""
    named = [{"name": n, "value": bytearray(v), "contentType": t} for n, v, t in fields]
    headers = [{"name": k.encode(), "value": v.encode()} for k, v in MULTIPART.items()]
    return {"requestId": b"1", "headers": headers, "parameters": named}


def read(*fields: tuple[str, bytes, str]) -> Question:
    headers, rows, ids = Service.retrieve_data_for_inference([sent(*fields)])
    assert ids == {0: "1"}
    return parameters.read(rows[0], headers[0].get_request_properties())


def test_fields_of_one_name_are_all_kept_with_their_types() -> None:
    parameters.keep_all()
    asked = read(("data", b"a", ""), ("seed", b"3", ""), ("data", b"b", "text/plain"))
    both = [Asked({"prompt": text, "seed": 3}) for text in ("a", "b")]
    assert asked == Question(both, is_list=True)
    assert read(("data", b'"b"', "application/json")).asked[0].request == {"prompt": "b"}


def test_a_torchserve_that_is_built_otherwise_keeps_the_last_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    two = ("data", b"a", ""), ("data", b'"b"', "application/json")
    assert read(*two) == Question([Asked({"prompt": "b"})])
    monkeypatch.setattr(parameters, "SERVICE", "ts.context")
    with caplog.at_level(logging.WARNING):
        parameters.keep_all()
    assert [record.message for record in caplog.records] == [
        "Of several form fields with one name, this TorchServe keeps only the last"
    ]

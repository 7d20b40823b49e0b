"""Restores a request from what TorchServe's front end made of it.

A form comes taken apart, a query (where it comes at all) among the same parameters, and of several
with one name TorchServe's worker keeps the last alone: `keep_all` has it keep them all.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from handler.content.charsets import parse_content_type
from handler.requests import kserve
from handler.requests.accept import JSON
from handler.requests.bodies import read_body, read_form
from handler.requests.grammar_schema import GrammarFields
from handler.requests.question import Field, Question
from handler.torchserve.grpc_calls import holds_object

logger = logging.getLogger(__name__)

SERVICE = "ts.service"
GRAMMAR_NAMES = frozenset({*GrammarFields.model_fields, "grammar"})
GRAMMAR_NAMES_IN_JSON = [f'"{name}"'.encode() for name in GRAMMAR_NAMES]
MANY = 1000  # items whose size is not worth to be looked at
# Read by TorchServe itself, at /invocations.
OF_TORCHSERVE = ("model_name",)


class Row(dict[str, Any]):
    """A request's parameters as handlers know them, and all of them in their order."""

    fields: list[Field]


def keep_all() -> None:
    """Let this worker keep every parameter; a TorchServe that is built otherwise stays as it is."""
    service = getattr(importlib.import_module(SERVICE), "Service", None)
    original = getattr(service, "retrieve_data_for_inference", None)
    if original is None:
        logger.warning("Of several form fields with one name, this TorchServe keeps only the last")
        return

    def retrieve(batch: Any) -> Any:
        headers, rows, ids = original(batch)
        return headers, list(map(_with_fields, rows, batch)), ids

    service.retrieve_data_for_inference = staticmethod(retrieve)  # type: ignore[union-attr]


def _with_fields(row: dict[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    parameters = request.get("parameters")
    if not parameters:  # one that was begun before: it comes without
        return row
    whole = Row(row)
    whole.fields = [Field(each["name"], each["value"], each["contentType"]) for each in parameters]
    return whole


def size_of(value: Any) -> int:
    """About how many bytes a request's parameters came in."""
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(size_of, value.values()))
    if isinstance(value, list):
        return 8 * len(value) + (sum(map(size_of, value)) if len(value) < MANY else 0)
    return 8


def may_ask_for_grammar(row: Mapping[str, Any]) -> bool:
    """Whether a request looks as if a grammar were to be compiled, which may take its time."""
    body = row.get("body", row.get("data"))
    if isinstance(body, (bytes, bytearray)):
        return any(name in body for name in GRAMMAR_NAMES_IN_JSON)
    if not isinstance(body, dict):
        return False
    inner = body.get("parameters")  # of Hugging Face's requests
    return not all(map(GRAMMAR_NAMES.isdisjoint, (body, inner if isinstance(inner, dict) else ())))


def text_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """A request's own headers, in small letters; TorchServe puts the types of fields among them."""
    return {name.lower(): value for name, value in headers.items() if isinstance(value, str)}


def read(row: Mapping[str, Any], headers: Mapping[str, Any]) -> Question:
    """What a prediction over HTTP asks for.

    Raises:
        BadRequest: It cannot be read.
    """
    fields = [field for field in _fields(row, headers) if field.name not in OF_TORCHSERVE]
    own = text_headers(headers)
    content_type, accept = own.get("content-type", ""), own.get("accept", "")
    kind = parse_content_type(content_type)
    tensors = own.get(kserve.LENGTH_HEADER)
    if tensors is not None:
        return kserve.read_infer(*kserve.split(_body_of(fields), tensors))
    if came_by_kserves_routes(own) and not kind.is_form:
        content_type = JSON  # whatever curl calls it
    if kind.is_urlencoded and kind.charset:
        text = f"text/plain; charset={kind.charset}"
        fields = [replace(field, content_type=text) for field in fields]
    if kind.is_form:
        return read_form(fields, accept=accept)
    bodies = [field for field in fields if field.name == "body"]
    if not bodies:
        return read_body(b"", content_type, fields, accept)
    query = [field for field in fields if field is not bodies[-1]]
    return read_body(bodies[-1].value, content_type, query, accept)


def came_by_kserves_routes(own: Mapping[str, str]) -> bool:
    """Whether a request was sent to V1's or V2's path: TorchServe marks others with `url_path`."""
    return "explain" in own and "url_path" not in own


def _body_of(fields: list[Field]) -> bytes:
    body = next((field.value for field in reversed(fields) if field.name == "body"), b"")
    return bytes(body) if isinstance(body, (bytes, bytearray)) else b""


def read_call(row: Mapping[str, Any]) -> Question:
    """What a prediction over gRPC asks for: fields without types, of which one may be JSON.

    Raises:
        BadRequest: It cannot be read.
    """
    fields = _fields(row, {})
    body = next((field for field in fields if holds_object(field.value)), None)
    if body is None:
        return read_body(b"", "", fields)
    return read_body(body.value, JSON, [field for field in fields if field is not body])


def _fields(row: Mapping[str, Any], headers: Mapping[str, Any]) -> list[Field]:
    if isinstance(row, Row):
        return row.fields
    found = []
    for name, value in row.items():
        about = headers.get(name)
        kind = about.get("content-type", "") if isinstance(about, Mapping) else ""
        found.append(Field(name, value, kind))
    return found

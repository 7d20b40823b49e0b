"""Requests of KServe's clients: V1's instances, V2's tensors, and V2's text for text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from handler.content import strict_json
from handler.errors import BadRequest
from handler.requests import hugging_face, named_tensors, tensors
from handler.requests.accept import JSON
from handler.requests.asking import FORM, RAW, asked_of, bound, list_of
from handler.requests.named_tensors import TEXT_INPUT, parameters_of
from handler.requests.prompts import merged
from handler.requests.question import COMPLETION, TEXT_OUTPUT, Asked, Envelope, Question
from handler.requests.tensors import BYTES

INSTANCES = "instances"
# The tensors of an answer; the last one where log probabilities are asked for.
OUTPUTS = ("text_output", "finish_reason", "logprobs")
LENGTH_HEADER = "inference-header-content-length"


def is_asked(value: Any) -> bool:
    """Whether parsed JSON is a request in one of these formats."""
    if not isinstance(value, dict):
        return False
    return INSTANCES in value or TEXT_INPUT in value or _holds_tensors(value)


def read(value: dict[str, Any], options: Mapping[str, Any], wanted: str = "") -> Question:
    """Read a request in whichever of the formats it has; `options` are of the query.

    Raises:
        BadRequest: It is not allowed.
    """
    if TEXT_INPUT in value:
        return read_generate(value, options, wanted)
    if _holds_tensors(value):
        return read_infer(value, options=options)
    return read_instances(value, options)


def _holds_tensors(value: Mapping[str, Any]) -> bool:
    inputs = value.get("inputs")
    return isinstance(inputs, list) and any(
        isinstance(item, dict) and "datatype" in item for item in inputs
    )


def read_instances(value: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Question:
    """V1: each instance is answered with what follows its text.

    Raises:
        BadRequest: It is not allowed.
    """
    given = {name: each for name, each in value.items() if name != "parameters"}
    name = next((each for each in (INSTANCES, "inputs") if each in given), INSTANCES)
    items = given.pop(name, None)
    if not isinstance(items, list):
        raise BadRequest(f"`{name}` must be a list", param=name, code="list_type")
    shared = merged(parameters_of(value), merged(given, options or {}))
    question = list_of(items, shared, "", RAW)
    _refuse_stream(question)
    if any(asked.format == COMPLETION for asked in question.asked):  # one has log probabilities
        asked = [replace(each, format=COMPLETION) for each in question.asked]
        question = replace(question, asked=asked)
    return replace(question, envelope=Envelope())


def read_infer(
    value: Mapping[str, Any], tail: bytes = b"", options: Mapping[str, Any] | None = None
) -> Question:
    """V2: tensors; `tail` is what follows the JSON.

    Raises:
        BadRequest: It is not allowed.
    """
    known = ("id", "inputs", "outputs", "parameters")
    beside = {name: each for name, each in value.items() if name not in known}
    parameters = parameters_of(value)
    all_binary = parameters.pop("binary_data_output", None)
    request = merged(parameters, merged(beside, options or {}))
    found = tensors.read(value.get("inputs"), tail)
    bound(len(found), "tensors")
    for tensor in found:
        for name in tensor.parameters:  # their names are reported to the client
            request.setdefault(f"inputs.parameters.{name}", None)
    request = merged(request, named_tensors.fields_of(found))
    question = Question([asked_of(request, {}, JSON, FORM)])
    _refuse_stream(question)
    outputs, binary = _outputs(value.get("outputs"))
    envelope = Envelope(True, _id(value), outputs, binary, all_binary is True)
    return replace(question, envelope=envelope)


def split(body: bytes, length: str) -> tuple[dict[str, Any], bytes]:
    """The JSON of a binary request, and what follows it; `length` is of LENGTH_HEADER.

    Without any JSON the whole body is the one text.

    Raises:
        BadRequest: It is not so long, or no JSON object.
    """
    is_number = length.isascii() and length.isdigit() and len(length) < 10
    if not is_number or int(length) > len(body):
        raise BadRequest(
            f"The header `Inference-Header-Content-Length` must be the length of the JSON, and the "
            f"body has {len(body)} bytes",
            param=LENGTH_HEADER,
            code="invalid_tensor",
        )
    size = int(length)
    if not size:
        item = {"name": TEXT_INPUT, "shape": [1], "datatype": BYTES}
        sized = {**item, "parameters": {tensors.BINARY_SIZE: len(body) + 4}}
        return {"inputs": [sized]}, len(body).to_bytes(4, "little") + body
    try:
        value = strict_json.load(body[:size])
    except strict_json.JsonError as error:
        raise BadRequest(error.message, param=error.param, code=error.code) from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object", code="invalid_type")
    return value, body[size:]


def read_generate(
    value: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    wanted: str = JSON,
    *,
    stream: bool | None = None,
) -> Question:
    """V2's text for text; `stream` says whether the route streams, None that the request does.

    Raises:
        BadRequest: It is not allowed.
    """
    text = value.get(TEXT_INPUT)
    texts = text if isinstance(text, list) else [text]
    if not texts or not all(isinstance(each, str) for each in texts):
        raise BadRequest(
            f"`{TEXT_INPUT}` must be a string or a list of strings", param=TEXT_INPUT, code="prompt"
        )
    known = ("id", TEXT_INPUT, "parameters")
    beside = {name: each for name, each in value.items() if name not in known}
    given = merged(parameters_of(value), merged(beside, options or {}))
    request = asked_of(merged(given, {"prompt": text}), {}, wanted or JSON, FORM).request
    if stream is not None:
        if request.get("stream") not in (None, stream):
            other = "`generate`" if stream else "`generate_stream`"
            said = str(request["stream"]).lower()[:10]
            raise BadRequest(f"`stream` is {said}: use {other}", param="stream")
        request["stream"] = stream
    full_text = bool(request.pop("echo", None))
    details = hugging_face.take_details(request)
    return Question([Asked(request, TEXT_OUTPUT, full_text, details, _id(value))])


def _id(value: Mapping[str, Any]) -> str:
    given = value.get("id")
    if not isinstance(given, (str, type(None))):
        raise BadRequest("`id` must be a string", param="id", code="string_type")
    return given or ""


def _outputs(given: Any) -> tuple[tuple[str, ...], dict[str, bool]]:
    """The tensors that are wanted, and what is said of how they are sent."""
    if given is None:
        return (), {}
    items = given if isinstance(given, list) else [None]
    names, binary = [], {}
    for item in items:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(item, dict) or name not in OUTPUTS:
            raise BadRequest(
                "`outputs` must be a list of objects; each `name` is one of "
                + ", ".join(f"`{each}`" for each in OUTPUTS),
                param="outputs",
                code="unknown_tensor",
            )
        parameters = item.get("parameters")
        says = parameters.get("binary_data") if isinstance(parameters, dict) else None
        names.append(name)
        if isinstance(says, bool):
            binary[name] = says
    return tuple(names), binary


def _refuse_stream(question: Question) -> None:
    if any(asked.request.get("stream") for asked in question.asked):
        raise BadRequest(
            "This format cannot be streamed; leave out `stream`, or use `generate_stream`",
            param="stream",
            code="not_supported",
        )

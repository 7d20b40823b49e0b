"""Requests of KServe's clients: V1's instances, V2's tensors, and V2's text for text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from handler.content import strict_json
from handler.errors import BadRequest
from handler.requests import hugging_face, tensors
from handler.requests.accept import JSON
from handler.requests.asking import FORM, RAW, asked_of, bound, list_of
from handler.requests.prompts import PROMPT_NAMES, merged
from handler.requests.question import COMPLETION, TEXT_OUTPUT, Asked, Envelope, Question
from handler.requests.tensors import BYTES, WHOLE, Tensor
from handler.requests.typed import LISTS, OPTIONS, typed

INSTANCES, TEXT_INPUT = "instances", "text_input"
TEXTS = frozenset({*PROMPT_NAMES, TEXT_INPUT, "input_ids"})
MASKS = frozenset({"attention_mask", "attention_masks"})
SAMPLING_PARAMETERS = "sampling_parameters"  # a JSON object as a string, of Triton's vLLM models
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
    shared = merged(_parameters(value), merged(given, options or {}))
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
    parameters = _parameters(value)
    all_binary = parameters.pop("binary_data_output", None)
    request = merged(parameters, merged(beside, options or {}))
    found = tensors.read(value.get("inputs"), tail)
    bound(len(found), "tensors")
    for tensor in found:
        for name in tensor.parameters:  # their names are reported to the client
            request.setdefault(f"inputs.parameters.{name}", None)
    request = merged(request, _said_by(found))
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
    given = merged(_parameters(value), merged(beside, options or {}))
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


def _parameters(value: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a request; protocols that know only plain values send others as strings."""
    given = value.get("parameters")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadRequest("`parameters` must be an object", param="parameters", code="dict_type")
    return {
        name: typed(name, [each]) if isinstance(each, str) and name in OPTIONS - LISTS else each
        for name, each in given.items()
    }


def _id(value: Mapping[str, Any]) -> str:
    given = value.get("id")
    if not isinstance(given, (str, type(None))):
        raise BadRequest("`id` must be a string", param="id", code="string_type")
    return given or ""


def _said_by(found: Sequence[Tensor]) -> dict[str, Any]:
    """The prompt and the options that tensors hold."""
    masks = [tensor for tensor in found if tensor.name in MASKS]
    own = {SAMPLING_PARAMETERS, "exclude_input_in_output", *OPTIONS}
    options = [tensor for tensor in found if tensor.name in own]
    prompt = _the_prompt([each for each in found if each.name not in {*MASKS, *own}], found)
    if len(masks) > 1:
        raise _wrong_tensors(f"{_named(masks)} are {len(masks)} masks of one prompt; send only one")
    said: dict[str, Any] = {}
    for tensor in options:
        said = merged(said, _option(tensor))
    return merged(said, {"prompt": _prompt(prompt, masks[0] if masks else None)})


def _the_prompt(texts: Sequence[Tensor], found: Sequence[Tensor]) -> Tensor:
    """The one tensor that is the prompt: by its name, or the only text, whatever its name."""
    prompts = [tensor for tensor in texts if tensor.name in TEXTS]
    others = [tensor for tensor in texts if tensor.name not in TEXTS]
    if len(prompts) > 1:
        raise _wrong_tensors(f"The prompt is given {len(prompts)} times, as {_named(prompts)}")
    if prompts and others:
        verb = "is" if len(others) == 1 else "are"
        raise _wrong_tensors(
            f"{_named(others)} {verb} no option, and `{prompts[0].name}` is the prompt already"
        )
    if not prompts and (len(others) != 1 or others[0].datatype != BYTES):
        none = f"None of the tensors {_named(found)} is the prompt" if found else "There is none"
        raise _wrong_tensors(
            f"{none}: send it as BYTES, named `{TEXT_INPUT}`, "
            "or as token ids, named `input_ids`; other tensors are named like options"
        )
    return (prompts or others)[0]


def _named(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"`{each.name[:64]}`" for each in tensors)


def _wrong_tensors(message: str) -> BadRequest:
    return BadRequest(message, param="inputs", code="unknown_tensor")


def _prompt(tensor: Tensor, mask: Tensor | None) -> Any:
    """Texts, or token ids by rows without their padding."""
    if tensor.datatype == BYTES:
        return tensor.values[0] if len(tensor.values) == 1 else tensor.values
    if tensor.datatype not in WHOLE:
        raise BadRequest(
            f"`{tensor.name}` is {tensor.datatype}; a prompt is BYTES, or token ids as INT64",
            param="inputs",
            code="invalid_tensor",
        )
    rows = tensor.rows
    if mask is not None:
        if len(mask.values) != len(tensor.values):
            raise BadRequest(
                f"`{mask.name}` and `{tensor.name}` must have the same shape",
                param="inputs",
                code="invalid_tensor",
            )
        kept = Tensor(mask.name, mask.datatype, tensor.shape, mask.values, {}).rows
        rows = [
            [token for token, is_there in zip(row, marks) if is_there]
            for row, marks in zip(rows, kept)
        ]
    return rows[0] if len(rows) == 1 else rows


def _option(tensor: Tensor) -> dict[str, Any]:
    """An option that came as a tensor: one value for all prompts."""
    name, values = tensor.name, tensor.values
    if name == SAMPLING_PARAMETERS:
        return _sampling_parameters(values)
    if name == "exclude_input_in_output":
        return {"echo": not values[0]} if values else {}
    if name in LISTS or (name.endswith("_ids") and values):
        return {name: values}
    if any(value != values[0] for value in values):
        raise BadRequest(
            f"`{name}` must have one value, for all prompts", param=name, code="repeated"
        )
    if not values:
        return {}
    return {name: typed(name, values[:1]) if tensor.datatype == BYTES else values[0]}


def _sampling_parameters(values: list[Any]) -> dict[str, Any]:
    try:
        value = strict_json.load(values[0].encode("utf-8", "surrogatepass")) if values else {}
    except (strict_json.JsonError, AttributeError):
        value = None
    if not isinstance(value, dict):
        raise BadRequest(
            f"`{SAMPLING_PARAMETERS}` must be a JSON object, as a string",
            param=SAMPLING_PARAMETERS,
            code="invalid_json",
        )
    return _parameters({"parameters": value})


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

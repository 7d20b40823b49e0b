"""The description of KServe's routes, of TGI's, and of the platforms'."""

from __future__ import annotations

from gateway.openapi.management import MODEL, VERSION, with_parameters
from gateway.openapi.parts import (
    INFERENCE_ERRORS,
    OPEN_OR_KEYED,
    PLAIN_ERRORS,
    Json,
    good_reply,
    operation,
    reference,
)
from gateway.openapi.predictions import PROMPT
from gateway.settings import Settings

TEXT: Json = {"type": "string"}
ANYTHING: Json = {"type": "object"}
OPTIONS: Json = {
    "description": "Options of a CompletionRequest, under Hugging Face's names too.",
    "type": ["object", "null"],
}
ID: Json = {"type": "string", "description": "Given back."}
TENSOR: Json = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": TEXT,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
        "datatype": {"type": "string", "examples": ["BYTES"]},
        "data": {"type": "array"},
        "parameters": ANYTHING,
    },
}
READY: Json = {
    "type": "object",
    "required": ["name", "ready"],
    "properties": {"name": TEXT, "ready": {"type": "boolean"}},
}
INFER = {"inputs": [{"name": "text_input", "shape": [1], "datatype": "BYTES", "data": [PROMPT]}]}
TGI_PARAMETERS = {"max_new_tokens": 5, "temperature": 0.9, "seed": 1}


def schemas() -> Json:
    """Return the schemas of what is asked and answered."""
    return {
        "TextError": _object({"error": TEXT, "error_type": TEXT}, "error"),
        "InstancesRequest": _object(
            {
                "instances": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"anyOf": [{"type": "string", "minLength": 1}, ANYTHING]},
                },
                "parameters": OPTIONS,
            },
            "instances",
        ),
        "PredictionsReply": _object({"predictions": {"type": "array"}}, "predictions"),
        "InferRequest": _object(
            {
                "id": ID,
                "inputs": {"type": "array", "items": TENSOR, "minItems": 1},
                "outputs": {"type": "array", "items": _object({"name": TEXT}, "name")},
                "parameters": OPTIONS,
            },
            "inputs",
        ),
        "InferReply": _object(
            {
                "model_name": TEXT,
                "model_version": TEXT,
                "id": TEXT,
                "outputs": {"type": "array", "items": TENSOR},
                "parameters": ANYTHING,
            },
            *("model_name", "model_version", "id", "outputs"),
        ),
        "TextInputRequest": _object(
            {"id": ID, "text_input": TEXT, "parameters": OPTIONS}, "text_input"
        ),
        "TextOutputReply": _object(
            {
                "id": TEXT,
                "model_name": TEXT,
                "model_version": TEXT,
                "text_output": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]},
            },
            *("model_name", "model_version", "text_output"),
        ),
        "TgiRequest": _object(
            {"inputs": {"type": "string", "minLength": 1}, "parameters": OPTIONS}, "inputs"
        ),
        "TgiReply": _object({"generated_text": TEXT, "details": ANYTHING}, "generated_text"),
    }


def paths(settings: Settings, event: Json) -> Json:
    """Return the operations; `event` is the schema of a stream's."""
    generated = {"type": "array", "items": reference("TgiReply")}
    stream = good_reply(event, "text/event-stream")
    root = _post(
        "tgi", "TGI's own route: the prompt with its continuation", "TgiRequest", generated
    )
    root["responses"]["200"]["content"] |= stream["content"]
    streamed = _post(
        "tgi_generate_stream", "TGI's stream, one event per token", "TgiRequest", stream
    )
    for one in (root, streamed):
        _with_example(one, {"inputs": PROMPT, "parameters": TGI_PARAMETERS})
    return {
        "/": {"post": root},
        "/generate_stream": {"post": streamed},
        "/info": {"get": _get("tgi_info", "What is being served, in TGI's format")},
        **_v1(),
        **_v2(stream),
        **_platforms(settings),
    }


def take_as_tgi(generate: Json) -> None:
    """Say of the plain route that it takes TGI's requests too, and answers those as TGI does."""
    _with_text_errors(generate)
    asked = generate["requestBody"]["content"]["application/json"]
    asked["schema"] = {"anyOf": [asked["schema"], reference("TgiRequest")]}
    asked["examples"]["tgi"] = {"value": {"inputs": PROMPT, "parameters": TGI_PARAMETERS}}
    answered = generate["responses"]["200"]["content"]["application/json"]
    answered["schema"] = {"anyOf": [answered["schema"], reference("TgiReply")]}


def may_be_away(model: Json) -> Json:
    """A model's operation, which is a 503 with `ready` false while its worker is away."""
    return _ready(model)


def _v1() -> Json:
    predict = _post(
        "predict_instances",
        "KServe's V1: the continuation of each instance",
        "InstancesRequest",
        reference("PredictionsReply"),
    )
    _with_example(predict, {"instances": [PROMPT, {"data": "The fox"}], "parameters": {"seed": 1}})
    return {
        "/v1/models/{model}:predict": with_parameters([MODEL], {"post": predict}),
        "/v1/models/{model}:explain": with_parameters([MODEL], {"post": _explain("v1")}),
    }


def _v2(stream: Json) -> Json:
    found: Json = {
        "/v2": {"get": _get("server", "The server's name and version", keyed=False)},
        "/v2/health/live": {"get": _get("v2_live", "Whether the process works", keyed=False)},
        "/v2/health/ready": {"get": _ready(_get("v2_ready", "Whether it is ready", keyed=False))},
    }
    for suffix, given in (("", [MODEL]), ("/versions/{version}", [MODEL, VERSION])):
        base, of = f"/v2/models/{{model}}{suffix}", "_of_version" if suffix else ""
        infer = _post(f"infer{of}", "Tensors to tensors", "InferRequest", reference("InferReply"))
        infer["requestBody"]["content"]["application/octet-stream"] = {
            "schema": {"type": "string", "description": "JSON, followed by the tensors' bytes."}
        }
        infer["responses"]["200"]["content"]["application/octet-stream"] = {"schema": TEXT}
        _with_example(infer, {**INFER, "parameters": {"max_tokens": 5}})
        asked = {"text_input": PROMPT, "parameters": {"max_tokens": 5, "seed": 1}}
        text = _post(
            f"generate_text{of}", "Text to text", "TextInputRequest", reference("TextOutputReply")
        )
        events = _post(f"generate_events{of}", "Text to events", "TextInputRequest", stream)
        for one in (text, events):
            _with_example(one, asked)
        ready = _ready(_get(f"model_ready{of}", "Whether a model is ready", READY))
        about = _get(f"model{of}", "A model's inputs and outputs")
        for path, methods in (
            ("", {"get": about}),
            ("/ready", {"get": ready}),
            ("/infer", {"post": infer}),
            ("/generate", {"post": text}),
            ("/generate_stream", {"post": events}),
            ("/explain", {"post": _explain(f"v2{of}")}),
        ):
            found[base + path] = with_parameters(given, methods)
    return found


def _platforms(settings: Settings) -> Json:
    found: Json = {}
    named = {"/invocations": "invoke"}
    if settings.aip_predict_route:
        named.setdefault(settings.aip_predict_route, "invoke_for_vertex")
    for path, name in named.items():
        invoke = _post(
            name,
            "SageMaker's and Vertex AI's route: accepts what `/predictions` accepts",
            "InstancesRequest",
            {},
        )
        _with_example(invoke, {"instances": [PROMPT]})
        invoke["requestBody"]["content"]["text/plain"] = {"schema": {**TEXT, "minLength": 1}}
        invoke["responses"]["200"]["content"] |= {
            "text/plain": {"schema": TEXT},
            "text/event-stream": {"schema": TEXT},
        }
        found[path] = {"post": invoke}
    return found


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "required": list(required), "properties": properties}


def _post(name: str, summary: str, takes: str, gives: Json) -> Json:
    """Return an operation that writes; `gives` is a schema, or a whole reply."""
    done = {"200": gives if "content" in gives else good_reply(gives)}
    described = operation(name, summary, "Protocols", done, INFERENCE_ERRORS)
    return _with_text_errors(described) | {
        "security": OPEN_OR_KEYED,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference(takes)}},
        },
    }


def _with_example(described: Json, value: Json) -> None:
    content = described["requestBody"]["content"]["application/json"]
    content["examples"] = {"text": {"value": value}}


def _get(name: str, summary: str, gives: Json | None = None, *, keyed: bool = True) -> Json:
    errors = INFERENCE_ERRORS if keyed else PLAIN_ERRORS
    done = {"200": good_reply(gives or ANYTHING)}
    described = _with_text_errors(operation(name, summary, "Protocols", done, errors))
    return described | ({"security": OPEN_OR_KEYED} if keyed else {})


def _ready(described: Json) -> Json:
    described["responses"]["503"] = good_reply(ANYTHING, about="Not now.")
    return described


def _explain(name: str) -> Json:
    summary = "Not supported: use the log probabilities of a prompt"
    errors = (*INFERENCE_ERRORS, 501)
    described = operation(f"explain_{name}", summary, "Protocols", {}, errors)
    return _with_text_errors(described) | {"security": OPEN_OR_KEYED}


def _with_text_errors(described: Json) -> Json:
    """An operation whose errors are one text; a request that is no HTTP has OpenAI's."""
    for status, reply in described["responses"].items():
        if int(status) >= 400:
            both = [reference("TextError"), reference("ErrorReply")]
            reply["content"] = {"application/json": {"schema": {"anyOf": both}}}
    return described

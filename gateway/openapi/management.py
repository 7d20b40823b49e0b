"""The description of management, and of the other routes that TorchServe's clients know."""

from __future__ import annotations

from gateway.archives.archive_urls import DIGEST
from gateway.openapi.parts import (
    DESCRIPTIONS,
    INFERENCE_ERRORS,
    KEYED,
    MANAGEMENT_ERRORS,
    MODEL_NAMES,
    OPEN_OR_KEYED,
    PLAIN_ERRORS,
    STATUS,
    Json,
    error_replies,
    good_reply,
    in_path,
    in_query,
    operation,
)
from gateway.routes.management import LONGEST_SECONDS
from gateway.routes.model_archives import ARCHIVE
from gateway.routes.parameters import RUNTIMES, WITHOUT_EFFECT
from gateway.settings import Settings
from handler.model_name import NAME

MODEL, VERSION = in_path("model", "gpt2"), in_path("version", "1.0")
FLAG: Json = {"type": "boolean"}
SCHEMAS_WITHOUT_EFFECT: dict[str, Json] = {
    "batch_size": {"type": "integer", "minimum": 1, "maximum": 100_000},
    "max_batch_delay": {"type": "integer", "minimum": 0, "maximum": 10_000_000},
    "runtime": {"enum": [name.upper() for name in RUNTIMES]},
    "number_gpu": {"const": 0},
    "s3_sse_kms": {"const": False},
}


def paths(settings: Settings) -> Json:
    """Return the operations of management."""
    listed = _managed("list", "The models", MODEL_NAMES)
    listed["parameters"] = [
        in_query("limit", "Most models on a page.", _whole(1, 1000)),
        in_query("next_page_token", "The previous page's `nextPageToken`.", _whole(0, 1_000_000)),
    ]
    set_default = _managed("set_default", "Make this version the default", STATUS)
    described = {"get": _managed("describe_all", "Every version of a model", DESCRIPTIONS)}
    described["get"]["parameters"] = [_customized()]
    return {
        "/models": {"get": listed, "post": _register(settings)},
        "/models/{model}": with_parameters([MODEL], _of_model(settings, "")),
        "/models/{model}/all": with_parameters([MODEL], described),
        "/models/{model}/{version}": with_parameters(
            [MODEL, VERSION], _of_model(settings, "_version")
        ),
        "/models/{model}/{version}/set-default": with_parameters(
            [MODEL, VERSION], {"put": set_default}
        ),
    }


def paths_of_inference() -> Json:
    """Return TorchServe's operations beside its predictions."""
    state: Json = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"enum": ["Healthy", "Unhealthy"]}},
    }
    done = {"200": good_reply(state, about="Ready."), "500": good_reply(state, about="Not ready.")}
    ping = operation("ping", "Whether a request would be served now", "Service", done, PLAIN_ERRORS)
    ping["responses"] |= done
    api = {"200": good_reply({"type": "object"}, about="This description.")}
    explained: Json = {}
    for suffix, parameters in (("", [MODEL]), ("_version", [MODEL, VERSION])):
        path = "/explanations/{model}" + ("/{version}" if suffix else "")
        methods = {}
        for method in ("get", "post", "put"):
            name = f"explain{suffix}_by_{method}"
            summary = "Not supported: use the log probabilities of a prompt"
            methods[method] = operation(name, summary, "Text", {}, (*INFERENCE_ERRORS, 501))
            methods[method]["security"] = OPEN_OR_KEYED
        explained[path] = with_parameters(parameters, methods)
    return {
        "/ping": {"get": ping},
        "/api-description": {
            "get": operation("api_description", "This description", "Service", api, PLAIN_ERRORS)
        },
        **explained,
    }


def api_description_by_options(name: str = "options", about: str = "This description") -> Json:
    """Return TorchServe's other way to ask for the description, or a part of it."""
    api = {"200": good_reply({"type": "object"}, about=f"{about}.")}
    summary = f"{about}; also answers preflight requests"
    described = operation(name, summary, "Service", api, PLAIN_ERRORS)
    described["responses"] |= error_replies((403,))
    return described


def predictions_by_options() -> Json:
    """Return TorchServe's question of what a model takes."""
    about, found = "The part of this description about predictions", {}
    for suffix, parameters in (("", [MODEL]), ("/{version}", [MODEL, VERSION])):
        name = "predict_options" + ("_of_version" if suffix else "")
        described = api_description_by_options(name, about) | {"security": OPEN_OR_KEYED}
        described["responses"] |= error_replies((401, 429))
        found["/predictions/{model}" + suffix] = with_parameters(parameters, {"options": described})
    return found


def with_parameters(parameters: list[Json], methods: Json) -> Json:
    """Return the operations of one path with the parts of it that vary."""
    return {
        method: described | {"parameters": [*parameters, *described.get("parameters", [])]}
        for method, described in methods.items()
    }


def _register(settings: Settings) -> Json:
    register = _managed("register", "Load an archive of the model store", STATUS)
    seconds = _whole(1, LONGEST_SECONDS)
    known = {
        "url": ("Name of the archive.", {"type": "string", "pattern": f"^{ARCHIVE.pattern}$"}),
        "sha256": (
            "Digest of an archive whose `url` is one of ALLOWED_MODEL_URLS.",
            {"type": "string", "pattern": f"^{DIGEST.pattern}$"},
        ),
        "model_name": (
            "Name of the model; the archive's own without it.",
            {"type": "string", "pattern": f"^{NAME.pattern}$"},
        ),
        "handler": ("The archive's own; no other code is run.", {"const": "gpt2_handler.py"}),
        "initial_workers": ("Number of replicas; 1 by default.", _whole(0, settings.max_replicas)),
        "synchronous": ("Answer when it is done (the default), or at once with 202.", FLAG),
        "response_timeout": ("Seconds that a step may take.", seconds),
        "startup_timeout": ("Seconds until a worker must be ready.", seconds),
    }
    register["parameters"] = [
        in_query(name, about, kind, required=name == "url") for name, (about, kind) in known.items()
    ]
    register["parameters"] += _without_effect(*SCHEMAS_WITHOUT_EFFECT)
    _add_body(register, known)
    return register


def _of_model(settings: Settings, suffix: str) -> Json:
    scale = _managed(
        f"scale{suffix}", "Set the number of workers; removed ones are drained first", STATUS
    )
    timeout = (
        "Seconds that removed workers have to finish their sequences; -1: no limit.",
        _whole(-1, LONGEST_SECONDS),
    )
    known = {
        "min_worker": (
            "Number of workers; 0 stays in force until it is changed.",
            _whole(0, settings.max_replicas),
        ),
        "max_worker": (
            "Workers beyond this number are removed; by default `min_worker`.",
            _whole(0, 10_000),
        ),
        "synchronous": ("Answer when it is done.", FLAG),
        "timeout": timeout,
    }
    scale["parameters"] = [in_query(name, *details) for name, details in known.items()]
    scale["parameters"] += _without_effect("number_gpu")
    _add_body(scale, known)
    remove = _managed(f"unregister{suffix}", "Drain and remove a model", STATUS)
    remove["parameters"] = [
        in_query("synchronous", "The answer always comes when the model is removed.", FLAG),
        in_query("timeout", *timeout),
    ]
    describe = _managed(f"describe{suffix}", "A model and its workers", DESCRIPTIONS)
    describe["parameters"] = [_customized()]
    return {"get": describe, "put": scale, "delete": remove}


def _customized() -> Json:
    about = "Also describe the model, in `customizedMetadata`."
    return in_query("customized", about, FLAG)


def _without_effect(*names: str) -> list[Json]:
    return [
        in_query(name, f"No effect: {WITHOUT_EFFECT[name]}.", SCHEMAS_WITHOUT_EFFECT[name])
        for name in names
    ]


def _add_body(described: Json, known: dict[str, tuple[str, Json]]) -> None:
    """Let an operation that changes workers be asked with JSON, and answered before it is done."""
    described["responses"]["202"] = good_reply(STATUS, about="Begun.")
    described["requestBody"] = {
        "description": "The parameters, instead of the query.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {name: kind for name, (_, kind) in known.items()},
                }
            }
        },
    }


def _managed(name: str, summary: str, schema: Json) -> Json:
    done = {"200": good_reply(schema)}
    errors = MANAGEMENT_ERRORS
    described = operation(f"{name}_model", summary, "Management", done, errors)
    return described | {"security": KEYED}


def _whole(least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most}

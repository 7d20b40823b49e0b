"""Requests as Text Generation Inference takes them on its own routes, with its rule of sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.errors import BadRequest
from handler.requests.asking import JSON_BODY, asked_of
from handler.requests.hugging_face import switch
from handler.requests.question import Question

# Any of these alone means sampling.
MEAN_SAMPLING = ("temperature", "top_k", "top_p", "typical_p")


def read(value: Mapping[str, Any], *, full_text: bool, stream: bool | None = None) -> Question:
    """Read a request.

    Args:
        value: Its JSON.
        full_text: Whether the answer begins with the prompt where nothing is said of that.
        stream: Whether the route streams; None where the request decides.

    Raises:
        BadRequest: It is not allowed.
    """
    if not isinstance(value.get("inputs"), str):
        raise BadRequest("`inputs` must be a string", param="inputs", code="string_type")
    parameters = value.get("parameters")
    if not isinstance(parameters, (dict, type(None))):
        raise BadRequest("`parameters` must be an object", param="parameters", code="dict_type")
    given = {name: each for name, each in (parameters or {}).items() if each is not None}
    given.setdefault("return_full_text", full_text)
    samples = switch(given, "do_sample") or any(name in given for name in MEAN_SAMPLING)
    if not samples:
        given["do_sample"] = False
    asked = {**value, "parameters": given}
    if stream is not None:
        said = asked.pop("stream", None)
        if said not in (None, stream):
            other = "`/generate`" if stream else "`/generate_stream`"
            shown = str(said).lower()[:10]
            raise BadRequest(f"`stream` is {shown}: use {other}", param="stream")
        asked["stream"] = stream
    return Question([asked_of(asked, {}, "", JSON_BODY)])

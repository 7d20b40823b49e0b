"""Hugging Face's requests: what transformers' pipeline and TGI call things, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.errors import BadRequest

OUR_NAMES = {
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "num_return_sequences": "n",
    "stop_sequence": "stop",
    "stop_sequences": "stop",
    "stop_strings": "stop",
    "truncate": "truncate_prompt_tokens",
}
# TGI's types of grammar.
GRAMMARS = {"json": "guided_json", "json_object": "guided_json", "regex": "guided_regex"}
# With these alone beside it, `inputs` is Hugging Face's; with options beside it, TorchServe's.
BESIDE_INPUTS = frozenset({"inputs", "parameters", "options", "stream", "model"})


def is_asked(value: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a request in Hugging Face's format.

    Raises:
        BadRequest: It is, and its prompts are no strings.
    """
    prompts = value.get("inputs")
    if prompts is None or isinstance(prompts, dict):
        return False
    if value.get("parameters") is None and not BESIDE_INPUTS.issuperset(value):
        return False
    texts = prompts if isinstance(prompts, list) else [prompts]
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            "`inputs` must be a string or a list of strings", param="inputs", code="prompt"
        )
    return True


def translated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under our names, with what transformers means by them.

    Raises:
        BadRequest: One is given under two names, or means what this model cannot do.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        ours = OUR_NAMES.get(name, name)
        if value is not None and found.get(ours) not in (None, value):
            other = next(known for known in options if OUR_NAMES.get(known, known) == ours)
            raise BadRequest(f"Give either `{other}` or `{name}`, not both", param=name)
        if found.get(ours) is None:
            found[ours] = value
    if found.pop("typical_p", None) not in (None, 1):
        raise BadRequest(
            "`typical_p` is not supported; leave it out, or use `top_p`, `top_k` or `min_p`",
            param="typical_p",
            code="not_supported",
        )
    _take_grammar(found)
    samples = switch(found, "do_sample")
    if samples is False:
        found["temperature"] = 0
    elif samples and found.get("temperature") == 0:
        raise BadRequest(
            "`temperature` must be more than 0 with `do_sample`: true", param="temperature"
        )
    return found


def _take_grammar(found: dict[str, Any]) -> None:
    """Say TGI's `grammar` in our names.

    Raises:
        BadRequest: It is of no known type.
    """
    grammar = found.pop("grammar", None)
    if grammar is None:
        return
    kind = grammar.get("type") if isinstance(grammar, dict) else None
    name = GRAMMARS.get(kind) if isinstance(kind, str) else None
    if name is None or grammar.get("value") is None:
        raise BadRequest(
            '`grammar` must be {"type": "json", "value": SCHEMA} or '
            '{"type": "regex", "value": TEXT}',
            param="grammar",
            code="grammar",
        )
    found[name] = grammar["value"]


def take_details(request: dict[str, Any]) -> bool:
    """Take out whether the tokens are reported, in details or one by one in a stream.

    Raises:
        BadRequest: They cannot be.
    """
    details = bool(switch(request, "details"))
    if details and request.get("best_of") not in (None, request.get("n") or 1):
        raise BadRequest("`details` cannot be combined with `best_of`", param="details")
    if request.get("stream") and (not isinstance(request["prompt"], str) or _several(request)):
        raise BadRequest("Only one completion can be streamed in this format", param="stream")
    if details or request.get("stream"):
        request.setdefault("logprobs", 0)
    return details


def _several(request: Mapping[str, Any]) -> bool:
    return any(request.get(name) not in (None, 1) for name in ("n", "best_of"))


def switch(options: dict[str, Any], name: str) -> bool | None:
    """Take an option out that is true, false or not given.

    Raises:
        BadRequest: It is something else.
    """
    value = options.pop(name, None)
    if value is None or isinstance(value, bool):
        return value
    raise BadRequest(f"`{name}` must be true or false", param=name, code="bool_type")

"""The meaning of KServe's tensors by their names: the prompt, its mask and the options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from handler.content import strict_json
from handler.errors import BadRequest
from handler.requests.prompts import PROMPT_NAMES, merged
from handler.requests.tensors import BYTES, WHOLE, Tensor
from handler.requests.typed import LISTS, OPTIONS, typed

TEXT_INPUT = "text_input"
TEXTS = frozenset({*PROMPT_NAMES, TEXT_INPUT, "input_ids"})
MASKS = frozenset({"attention_mask", "attention_masks"})
SAMPLING_PARAMETERS = "sampling_parameters"  # a JSON object as a string, of Triton's vLLM models


def parameters_of(value: Mapping[str, Any]) -> dict[str, Any]:
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


def fields_of(found: Sequence[Tensor]) -> dict[str, Any]:
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
    return parameters_of({"parameters": value})

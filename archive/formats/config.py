"""Reads what a config says of a GPT-2, by whatever names, as GPT2Config reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archive.errors import CheckpointError
from handler.engine.activations import NAMES

ARCHITECTURE = "GPT2LMHeadModel"
# GPT-2 with a head for something else: it has a language model in it only if lm_head is there.
OTHER_HEADS = (
    "GPT2ForSequenceClassification",
    "GPT2ForTokenClassification",
    "GPT2ForQuestionAnswering",
)
ARCHITECTURES = (
    ARCHITECTURE,
    "GPT2Model",
    "GPT2DoubleHeadsModel",
    *OTHER_HEADS,
    "AutoModelForCausalLMWithValueHead",
    "GPT2HeadWithValueModel",
    "TFGPT2LMHeadModel",
    "TFGPT2Model",
    "FlaxGPT2LMHeadModel",
    "FlaxGPT2Model",
)
# Names of other models' configs, which GPT2Config takes too.
SYNONYMS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
    "n_ctx": "n_positions",  # of 2019, where nothing else says it
}
DEFAULTS = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}


def architectures(config: Mapping[str, Any]) -> list[str]:
    """The classes that a config names, of one name or a list of them; none where it names none."""
    named = config.get("architectures") or []
    return [str(kind) for kind in (named if isinstance(named, list) else [named])]


def is_gpt2(config: Mapping[str, Any]) -> bool:
    """Whether a config is a GPT-2's; those of 2019 name no model_type.

    With a model_type, the names of classes decide nothing: a person's own class of GPT-2's has its
    tensors, and `AutoModelForCausalLM` loads it by model_type, too.
    """
    kinds = architectures(config)
    if "model_type" in config and config["model_type"] is not None:
        return bool(config["model_type"] == "gpt2")
    if kinds:
        return any(kind in ARCHITECTURES for kind in kinds)
    return bool(config.get("n_embd"))


def odd_architecture(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks on a class that transformers does not have."""
    kinds = architectures(config)
    if not kinds or any(kind in ARCHITECTURES for kind in kinds):
        return ()
    return (
        f"config.json names {kinds[0]}, which is no class of transformers: served as "
        f"{ARCHITECTURE}, which has the same weights",
    )


def check_kind(config: Mapping[str, Any]) -> None:
    """Raise CheckpointError if a config is not that of a GPT-2 language model."""
    if not is_gpt2(config):
        found = ", ".join(architectures(config) or ["unknown"])
        kind = config.get("model_type")
        way_out = "" if kind else '; if it is one, put "model_type": "gpt2" into it'
        raise CheckpointError(
            f"not a GPT-2 language model: config.json says model_type {kind!r}, architecture "
            f"{found}; {ARCHITECTURE} is needed{way_out}"
        )
    if config.get("add_cross_attention"):
        raise CheckpointError(
            "config.json: add_cross_attention is not supported: it is a part of another model"
        )


def needs_head(config: Mapping[str, Any]) -> bool:
    """Whether it is a classifier, whose lm_head must lie there to make it a language model."""
    kinds = architectures(config)
    return bool(kinds) and all(kind in OTHER_HEADS for kind in kinds)


def normal_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with every number that a GPT-2 needs written out under GPT2Config's names.

    Args:
        config: As its file has it.

    Raises:
        CheckpointError: It is not a GPT-2's, a number is none, or the activation is not served.
    """
    check_kind(config)
    normal = {**config, "model_type": "gpt2", "architectures": [ARCHITECTURE]}
    for synonym, name in SYNONYMS.items():
        if synonym in normal:
            value = normal.pop(synonym)
            if normal.get(name) is None:
                normal[name] = value
    for name, default in DEFAULTS.items():
        normal[name] = _whole(normal, name, default)
    width, heads = normal["n_embd"], normal["n_head"]
    normal["n_inner"] = _whole(normal, "n_inner", 4 * width)
    if width % heads:
        raise CheckpointError(f"config.json: n_embd {width} is not a multiple of n_head {heads}")
    normal["layer_norm_epsilon"] = _positive(normal, "layer_norm_epsilon", 1e-5)
    flags = {"tie_word_embeddings": True, "scale_attn_weights": True}
    for name, flag in {**flags, "scale_attn_by_inverse_layer_idx": False}.items():
        value = normal.get(name)
        normal[name] = flag if value is None else bool(value)
    normal["activation_function"] = _activation(normal.get("activation_function"))
    return normal


def _whole(config: Mapping[str, Any], key: str, default: int) -> int:
    value = config.get(key)
    value = default if value is None else value
    if type(value) is not int or value < 1:
        raise CheckpointError(f"config.json: {key} is {value!r}; a number of at least 1 is needed")
    return value


def _positive(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise CheckpointError(
            f"config.json: {key} is {value!r}; a number between 0 and 1 is needed"
        )
    return float(value)


def _activation(name: Any) -> str:
    name = "gelu_new" if name is None else name
    if not isinstance(name, str) or name not in NAMES:
        known = ", ".join(NAMES)
        raise CheckpointError(
            f"config.json: activation_function {name!r} is not supported; {known} are"
        )
    return NAMES[name]

"""LoRA adapters of PEFT, merged into the model that they change, as `merge_and_unload` does.

W + scale * (B A) for a linear layer, where GPT-2's Conv1D keeps W [in, out]; W + scale * (B A)^T
for an embedding. DoRA gives each output of that the length that its magnitude says. Products are
sums in a fixed order, in float64: the same bits on every processor, as those of a BLAS are not.
https://huggingface.co/docs/peft
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from archive.errors import CheckpointError
from archive.formats.layout import HEAD, MATRIX, WORDS, settle_head
from archive.formats.names import plain_name, plain_names
from archive.formats.tensors import Floats, StoredModel, StoredTensor
from archive.reading import read_json
from archive.tokenizer import has_tokenizer

FILES = ("adapter_model.safetensors", "adapter_model.bin")
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?:embedding_)?(?P<side>[AB])(?:\.weight)?$")
# A saved adapter says no name for itself; one in a training checkpoint may.
ADAPTER_NAME = re.compile(
    r"(\.lora_(?:embedding_[AB]|[AB]|magnitude_vector))\.default\b|\.modules_to_save(?:\.default)?"
)
MAGNITUDE = re.compile(r"(?P<module>.+)\.lora_(?P<side>magnitude_vector)(?:\.weight)?$")
# Rows of a product that are computed at a time: 128 MB of a matrix 16,384 wide.
ROWS = 1024
# What changes a layer otherwise than by a product of two factors.
UNKNOWN = re.compile(
    r"lora_(variant|ga)|lora_[AB]\.bias|hada_|lokr_|ia3_|oft_|vera_|prompt_|trainable_tokens_|"
    r"token_adapter|(^|\.)lora_(?!embedding_[AB]\b|[AB]\b|magnitude_vector\b)"
)
# Ways to begin a training in which the base is changed, too: what is added is no use without that.
CHANGED_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
MAGNITUDES = "magnitude_vector"
# What PEFT puts before the names of the model's own modules.
OUTER = "base_model.model."
PART = re.compile(r"(^|\.)(wte|wpe|ln_f|lm_head|h\.\d+)\.")
APART = (
    "the adapter changes one of embedding and head, which are one in its base: served as two, as "
    "PEFT computes them"
)
WAY_OUT = "merge it with PEFT: model.merge_and_unload().save_pretrained(DIR)"


def find_adapter(path: Path) -> Path | None:
    """Return the file of an adapter, if `path` is one or the directory of one."""
    if path.is_file():
        return path if path.name in FILES else None
    if not (path / "adapter_config.json").is_file():
        return None
    return next((path / name for name in FILES if (path / name).is_file()), None)


def split_off(tensors: Mapping[str, StoredTensor]) -> tuple[dict[str, StoredTensor], ...]:
    """Return a model's tensors and the factors of an adapter that lie among them."""
    factors = {name: tensor for name, tensor in tensors.items() if ".lora_" in name}
    return {name: each for name, each in tensors.items() if name not in factors}, factors


def merge_adapter(
    file: Path, base: StoredModel, tensors: Mapping[str, StoredTensor]
) -> StoredModel:
    """Return `base` with an adapter merged into it, a tensor at a time when it is read.

    Args:
        file: The adapter's weights; adapter_config.json lies beside them.
        base: The model that the adapter was trained on.
        tensors: The adapter's.

    Raises:
        CheckpointError: It is no LoRA adapter, or does not fit the base.
    """
    config = read_json(file.parent / "adapter_config.json")
    _check_kind(config)
    factors, whole, named = _sorted_out(tensors)
    says_tied = bool(base.config.get("tie_word_embeddings", True))
    merged, is_tied, _ = settle_head(plain_names(base.tensors), says_tied)
    remarks = base.remarks
    if is_tied and _changes_one_alone(factors, whole, merged, config):
        merged[HEAD] = merged[WORDS]
        is_tied, remarks = False, (*remarks, APART)
    _check_whole(file, whole, merged)
    merged |= whole  # the base's own may lie there, too: factors come on top
    turned = _turned(merged)
    for module, pair in factors.items():
        name = f"{module}.weight"
        if name not in merged or not {"A", "B"} <= pair.keys():
            raise CheckpointError(f"{file.name}: the base has no {name} for {module}.lora_A and _B")
        scale, is_turned = _scale(config, named[module], pair), name in turned
        merged[name] = _merged(merged[name], pair["A"], pair["B"], scale, is_turned)
        if MAGNITUDES in pair:
            merged[name] = _with_lengths(merged[name], pair[MAGNITUDES], module, is_turned)
    return replace(
        base,
        format=f"LoRA adapter on {base.format}",
        config=_config(base.config, merged, is_tied),
        tensors=merged,
        remarks=remarks,
        file=base.file if base.file == file.name else f"{file.name} on {base.file}",
        tokenizer_directory=(
            file.parent if has_tokenizer(file.parent) else base.tokenizer_directory
        ),
    )


def _check_kind(config: Mapping[str, Any]) -> None:
    """Refuse what is no LoRA, or one that is no use without changes of the base."""
    if config.get("peft_type", "LORA") != "LORA":
        raise CheckpointError(f"the adapter is {config['peft_type']}, not LORA; {WAY_OUT}")
    begin = config.get("init_lora_weights")
    if isinstance(begin, str) and begin.lower().startswith(CHANGED_BASE):
        raise CheckpointError(
            f"adapter_config.json: init_lora_weights is {begin!r}, which changes the base, too; "
            f"{WAY_OUT}"
        )


def _sorted_out(
    tensors: Mapping[str, StoredTensor],
) -> tuple[dict[str, dict[str, StoredTensor]], dict[str, StoredTensor], dict[str, str]]:
    """The two factors of each module, tensors that take the place of the base's, PEFT's names."""
    factors: dict[str, dict[str, StoredTensor]] = {}
    whole: dict[str, StoredTensor] = {}
    named: dict[str, str] = {}
    for given, tensor in tensors.items():
        if UNKNOWN.search(given):
            raise CheckpointError(f"the adapter has {given}, which is no plain LoRA; {WAY_OUT}")
        name = ADAPTER_NAME.sub(r"\1", given)
        match = FACTOR.fullmatch(name) or MAGNITUDE.fullmatch(name)
        if match is None:
            whole[plain_name(name)] = tensor
        else:
            module = plain_name(f"{match['module']}.weight").removesuffix(".weight")
            factors.setdefault(module, {})[match["side"]] = tensor
            named[module] = match["module"].removeprefix(OUTER)
    return factors, whole, named


def _scale(config: Mapping[str, Any], module: str, pair: Mapping[str, StoredTensor]) -> float:
    """What the product of a module's factors is multiplied by."""
    own = pair["B"].shape[-1] if pair["B"].shape else 0
    alpha = _of_module(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise CheckpointError(f"adapter_config.json: lora_alpha is {alpha!r}; a number is needed")
    rank = _of_module(config.get("rank_pattern"), module, config.get("r", own))
    if type(rank) is not int or rank < 1 or rank != own:
        raise CheckpointError(
            f"adapter_config.json: the rank of {module} is {rank!r}, its factors have {own}: is it "
            "the adapter's own?"
        )
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_module(patterns: Any, module: str, default: Any) -> Any:
    """The value of the first pattern that fits a module's name or ends it, as PEFT looks it up."""
    try:
        for pattern, value in (patterns or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
    except (re.error, AttributeError):
        raise CheckpointError(
            f"adapter_config.json: {patterns!r} are no patterns of names, as PEFT writes them"
        ) from None
    return default


def _turned(weights: Mapping[str, StoredTensor]) -> set[str]:
    """The names of weights that are kept [in, out]: embeddings, and Conv1D if the base has it."""
    first = weights.get("h.0.attn.c_attn.weight")
    has_conv1d = first is not None and len(first.shape) == 2 and first.shape[0] < first.shape[1]
    matrices = {name for name in weights if MATRIX.fullmatch(name)} if has_conv1d else set()
    return {"wte.weight", "wpe.weight"} | matrices


def _merged(
    weight: StoredTensor, a: StoredTensor, b: StoredTensor, scale: float, is_turned: bool
) -> StoredTensor:
    """`weight`, the product of its factors A [rank, in] and B [out, rank] added when it is read."""
    fits = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1]
    product = (b.shape[0], a.shape[-1]) if fits else ()
    if weight.shape != (product[::-1] if is_turned else product):
        raise CheckpointError(
            f"the adapter does not fit the base: {list(b.shape)} x {list(a.shape)} onto "
            f"{list(weight.shape)}; is it the model that it was trained on?"
        )

    def add(values: Floats) -> Floats:
        delta = _product(b.read(), a.read()) * np.float32(scale)
        return values + (delta.T if is_turned else delta)

    return weight.mapped(add, weight.shape)


def _product(left: Floats, right: Floats) -> Floats:
    """`left` [rows, rank] times `right` [rank, columns]."""
    result = np.empty((len(left), right.shape[1]), np.float32)
    for start in range(0, len(left), ROWS):
        rows = left[start : start + ROWS].astype(np.float64)
        total = np.zeros((len(rows), right.shape[1]))
        for rank in range(left.shape[1]):
            total += rows[:, rank, None] * right[rank]
        result[start : start + ROWS] = total
    return result


def _with_lengths(
    weight: StoredTensor, magnitude: StoredTensor, module: str, is_turned: bool
) -> StoredTensor:
    """DoRA: `weight` with the length that `magnitude` says for what makes each output."""
    is_embedding = module in ("wte", "wpe")
    outputs = weight.shape[1] if is_turned else weight.shape[0]
    if magnitude.shape != (outputs,) or is_embedding and not is_turned:
        raise CheckpointError(
            f"the adapter does not fit the base: {module} has {outputs} outputs, its "
            f"lora_magnitude_vector {list(magnitude.shape)}"
        )

    def scale(values: Floats) -> Floats:
        inputs = values if is_turned else values.T
        squares = np.zeros(outputs)
        for row in inputs:
            squares += np.square(row.astype(np.float64))
        lengths = np.sqrt(squares).astype(np.float32)
        factor = magnitude.read() / lengths
        return values * (factor if is_turned else factor[:, None])

    return weight.mapped(scale, weight.shape)


def _changes_one_alone(
    factors: Mapping[str, Any],
    whole: Mapping[str, StoredTensor],
    base: Mapping[str, StoredTensor],
    config: Mapping[str, Any],
) -> bool:
    """Whether an adapter changes one of embedding and head, which are one in its base."""
    if config.get("ensure_weight_tying"):
        return False
    changed = {*(f"{module}.weight" for module in factors), *whole} & {HEAD, WORDS}
    grows = WORDS in whole and whole[WORDS].shape != base[WORDS].shape
    return len(changed) == 1 and not grows


def _check_whole(
    file: Path, whole: Mapping[str, StoredTensor], merged: Mapping[str, StoredTensor]
) -> None:
    """Refuse tensors of a GPT-2's parts that take no place of the base's: left out, they lack."""
    for name in whole:
        if name not in merged and PART.search(name) and name != HEAD:
            raise CheckpointError(f"{file.name}: the base has no {name}; {WAY_OUT}")


def _config(
    config: dict[str, Any], merged: Mapping[str, StoredTensor], is_tied: bool
) -> dict[str, Any]:
    """The base's config; an adapter may bring more words."""
    words = merged.get(WORDS)
    changed = {} if words is None else {"vocab_size": words.shape[0]}
    return config | changed | {"tie_word_embeddings": is_tied}

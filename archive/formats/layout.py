"""Brings tensors of GPT-2's names into GPT2LMHeadModel's layout: Conv1D, biases, the head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from archive.errors import CheckpointError
from archive.formats.names import CROSS_ATTENTION, is_layer, plain_names
from archive.formats.tensors import UNITS, StoredTensor

HEAD, WORDS = "lm_head.weight", "wte.weight"
MATRIX = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """Tensors as GPT2LMHeadModel has them, whether its head is the embedding, and what is odd."""

    tensors: dict[str, StoredTensor]
    is_tied: bool
    remarks: tuple[str, ...]


def gpt2_layout(tensors: Mapping[str, StoredTensor], expected: Shapes, says_tied: bool) -> Layout:
    """Return the tensors that `expected` names, with exactly its shapes.

    Args:
        tensors: By whatever names the file has.
        expected: Shapes of all tensors but the head, by GPT2LMHeadModel's names.
        says_tied: Whether config.json says that the head is the embedding. The tensors decide:
            a head of its own that differs is served.

    Raises:
        CheckpointError: One is missing, has another shape, or there is no head.
    """
    found = plain_names(tensors)
    found, is_tied, remarks = settle_head(found, says_tied)
    wanted = dict(expected) if is_tied else {**expected, HEAD: expected[WORDS]}
    found = _as_conv1d(found, wanted)
    found, remark = _with_biases(found, wanted)
    _check(found, wanted)
    remarks = (*_left_out(found, wanted), *remarks, *remark)
    return Layout({name: found[name] for name in wanted}, is_tied, remarks)


def _left_out(found: Mapping[str, StoredTensor], wanted: Shapes) -> tuple[str, ...]:
    layers = len({name.split(".")[1] for name in wanted if name.startswith("h.")})
    beyond = {int(name.split(".")[1]) for name in found if is_layer(name)} - set(range(layers))
    if beyond:
        return (
            f"left out, since config.json says {layers} layers: layer {min(beyond)} and what is "
            "behind it, as transformers does",
        )
    others = [name for name in found if name not in wanted and not CROSS_ATTENTION.fullmatch(name)]
    if not others:
        return ()
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return (f"left out, since a language model has no place for it: {others[0]}{more}",)


def settle_head(
    found: dict[str, StoredTensor], says_tied: bool
) -> tuple[dict[str, StoredTensor], bool, tuple[str, ...]]:
    """Decide whether the head is the embedding, and leave it out then; return what is odd, too."""
    head, words = found.get(HEAD), found.get(WORDS)
    rest = {name: tensor for name, tensor in found.items() if name != HEAD}
    if head is None:
        return found, says_tied, ()
    if words is None:  # of a tied pair, a file may keep either name
        return {**rest, WORDS: head}, True, ()
    if not says_tied:
        return found, False, ()
    if head.shape == words.shape and np.array_equal(head.read(), words.read()):
        return rest, True, ()
    remark = (
        "the file has an lm_head.weight that is not the embedding, though config.json says "
        "tie_word_embeddings: the file's head is served"
    )
    return found, False, (remark,)


def _as_conv1d(found: dict[str, StoredTensor], wanted: Shapes) -> dict[str, StoredTensor]:
    """Transpose matrices that are kept [out, in], as nn.Linear does and Conv1D does not.

    One that is not square decides for all: queries, keys and values are three times as wide.
    """
    first = found.get("h.0.attn.c_attn.weight")
    if first is None or first.shape != wanted["h.0.attn.c_attn.weight"][::-1]:
        return found
    return {
        name: tensor.transposed() if MATRIX.fullmatch(name) else tensor
        for name, tensor in found.items()
    }


def _with_biases(
    found: dict[str, StoredTensor], wanted: Shapes
) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    """Add zeros where a model has no biases at all."""
    biases = [name for name in wanted if name.endswith(".bias")]
    if any(name in found for name in biases):
        return found, ()
    zeros = {name: _zeros(wanted[name]) for name in biases}
    return {**found, **zeros}, ("the model has no biases: zeros stand for them",)


def _zeros(shape: tuple[int, ...]) -> StoredTensor:
    return StoredTensor(shape, "F32", lambda: np.zeros(shape, np.float32))


def _check(found: Mapping[str, StoredTensor], wanted: Shapes) -> None:
    for name, shape in wanted.items():
        if name in found and found[name].dtype in UNITS:
            raise CheckpointError(
                f"{name} is {found[name].dtype}; F32, F16, BF16 or F64 is needed: save the model "
                "in floats"
            )
        if name in found and found[name].shape != shape:
            raise CheckpointError(
                f"{name} has shape {list(found[name].shape)}, config.json asks for {list(shape)}: "
                "is it the config.json of these weights?"
            )
    missing = [name for name in wanted if name not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(
            f"the checkpoint lacks {missing[0]}{more}: download or save it again, all of it"
        )

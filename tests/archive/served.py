"""GPT-2s that compute otherwise than most, served as `transformers` computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from handler.engine.activations import NAMES
from tests.archive.adapters import (
    among_weights,
    dora_factors,
    lora,
    lora_factors,
    with_dora,
    with_lora,
)
from tests.archive.programs import Q8_0, gguf_file, mini_of_2020
from tests.archive.tiny import GITHUB, HUB, Arrays, Json, Write, full, turned
from tests.archive.writers import safetensors


@dataclass(frozen=True)
class Shape:
    """A GPT-2 that computes otherwise than most.

    `write` puts it into a directory, as `Layout.write` does; `means` gives the weights that it has.
    `near` is how near log probabilities are: gelu by erf and by tanh differ by three times as much.
    """

    source: str
    config: Json
    write: Write = safetensors(full)
    means: Callable[[Arrays], Arrays] = lambda weights: weights
    file: str = ""
    remark: str = ""
    near: float = 3e-5


def no_biases(weights: Arrays) -> Arrays:
    return {
        name: np.zeros_like(weight) if name.endswith(".bias") else weight
        for name, weight in weights.items()
    }


def without_biases(weights: Arrays) -> Arrays:
    return {name: weight for name, weight in full(weights).items() if not name.endswith(".bias")}


def other_head(weights: Arrays) -> Arrays:
    return weights | {"lm_head.weight": np.roll(weights["wte.weight"], 1, axis=1)}


def quantized(weights: Arrays) -> Arrays:
    """What the numbers of Q8_0 stand for, as its own library says; matrices are kept [out, in]."""

    def rounded(weight: NDArray[Any]) -> NDArray[Any]:
        return gguf.dequantize(gguf.quantize(weight, Q8_0), Q8_0)

    return turned({
        name: rounded(weight) if weight.ndim == 2 else weight
        for name, weight in turned(weights).items()
    })  # fmt: skip


TINY_RANDOM = HUB + "hf-internal-testing/tiny-random-gpt2"
GPT2_DOCS = HUB + "docs/transformers/model_doc/gpt2"
# What is served as `transformers` computes it, greedy, token for token.
SHAPES: dict[str, Shape] = {
    **{
        f"activation_function {name}": Shape(GPT2_DOCS, {"activation_function": name})
        for name, ours in NAMES.items()
        if ours != "gelu_new"
    },
    "no biases": Shape(
        GITHUB + "karpathy/nanoGPT",
        {},
        safetensors(without_biases),
        no_biases,
        remark="the model has no biases: zeros stand for them",
    ),
    "lm_head that differs, though config.json says tied": Shape(
        GITHUB + "huggingface/peft/issues/2777",
        {},
        safetensors(lambda weights: full(other_head(weights))),
        other_head,
        remark="the file's head is served",
    ),
    "an untied head": Shape(GPT2_DOCS, {"tie_word_embeddings": False}),
    "n_inner 100": Shape(GPT2_DOCS, {"n_inner": 100}),
    "head size 1": Shape(HUB + "sshleifer/tiny-gpt2", {"n_embd": 2, "n_head": 2}),
    "head size 5": Shape(HUB + "hf-internal-testing/tiny-random-gpt2", {"n_embd": 40, "n_head": 8}),
    "head size 20": Shape(
        HUB + "hf-internal-testing/tiny-random-gpt2", {"n_embd": 40, "n_head": 2}
    ),
    "scale_attn_weights false": Shape(GPT2_DOCS, {"scale_attn_weights": False}),
    "scale_attn_by_inverse_layer_idx": Shape(
        GITHUB + "stanford-crfm/mistral", {"scale_attn_by_inverse_layer_idx": True}
    ),
    "32 positions": Shape(TINY_RANDOM, {"n_positions": 32}),
    "8,192 positions": Shape(GPT2_DOCS, {"n_positions": 8192}),
    "GGUF, Q8_0": Shape(
        GITHUB + "ggml-org/llama.cpp/issues/5032",
        {"n_embd": 64},
        gguf_file("Q8_0", 64),
        quantized,
        file="model.gguf",
        near=3e-3,  # embeddings are kept as halves, which these numbers are not
    ),
    "model.pt of minGPT before 2022": Shape(
        GITHUB + "karpathy/minGPT",
        {"activation_function": "gelu", "tie_word_embeddings": False, "eos_token_id": None},
        mini_of_2020,
    ),
    "a LoRA adapter of PEFT": Shape(
        GITHUB + "huggingface/peft/issues/365", {}, lora(lora_factors), with_lora, file="adapter"
    ),
    "a DoRA adapter of PEFT": Shape(
        GITHUB + "huggingface/peft/issues/3531", {}, lora(dora_factors), with_dora, file="adapter"
    ),
    "factors of LoRA among the weights, beside adapter_config.json": Shape(
        GITHUB + "huggingface/peft/issues/365", {}, among_weights, with_lora
    ),
}
# What other libraries wrote, in tests/archive/made.
MADE: dict[str, tuple[str, str]] = {
    "keras": ("tf_model.h5", HUB + "docs/transformers/model_doc/gpt2"),
    "flax": ("flax_model.msgpack", HUB + "docs/transformers/model_doc/gpt2"),
    "flax_untied": ("flax_model.msgpack with a head of its own", GITHUB + "google/flax"),
    "tensorflow": ("model.ckpt of TensorFlow", GITHUB + "minimaxir/gpt-2-simple"),
    "bitsandbytes_int8": (
        "int8 of bitsandbytes, as floats",
        GITHUB + "bitsandbytes-foundation/bitsandbytes",
    ),
    "bitsandbytes_nf4": (
        "nf4 of bitsandbytes, scales quantised too, as floats",
        GITHUB + "bitsandbytes-foundation/bitsandbytes",
    ),
}

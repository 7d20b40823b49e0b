"""What is the same model once it is read, whatever its file: archives of it have the same bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from safetensors.numpy import save_file

from handler.engine.activations import NAMES
from tests.archive.programs import build_nano, gguf_file, gguf_renamed, llm_c, mini, nano
from tests.archive.tiny import (
    GITHUB,
    HUB,
    Json,
    Write,
    doubled,
    full,
    head_alone,
    masks,
    tensors,
    turned,
    with_heads,
)
from tests.archive.writers import (
    dialo,
    halves,
    hub_cache,
    named,
    pickled,
    safetensors,
    shards,
    variant_shards,
    with_mark,
)


@dataclass(frozen=True)
class Layout:
    """How people have a model, and where from.

    `write` puts it into a directory, of which `file` is what --model names where it is not the
    directory itself; `config` is what config.json says beside the sizes, `None` where there is
    none; `remark` are words of one.
    """

    source: str
    write: Write
    config: Json | None = None
    file: str = ""
    has_config: bool = True
    remark: str = ""
    activation: str = "gelu_new"


OLD = {"architectures": None, "model_type": None, "n_ctx": 64, "summary_type": "cls_index"}
SYNONYMS = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SYNONYMS |= {"max_position_embeddings": 64}
ROOT = dict.fromkeys(("n_embd", "n_layer", "n_head", "n_positions"))
# What is the same model once it is read: archives of it have the same bytes.
SAME: dict[str, Layout] = {
    "safetensors as `save_pretrained` writes it": Layout(
        HUB + "distilbert/distilgpt2", safetensors(full)
    ),
    "no prefix, masks among the weights": Layout(
        HUB + "openai-community/gpt2", safetensors(lambda weights: weights | masks())
    ),
    "`_orig_mod.` of torch.compile": Layout(
        GITHUB + "pytorch/pytorch/issues/101107", named(lambda name: f"_orig_mod.{name}")
    ),
    "`module.` of DataParallel": Layout(
        GITHUB + "pytorch/pytorch/issues/3805", named(lambda name: f"module.{name}")
    ),
    "`module._orig_mod.`, both": Layout(
        GITHUB + "huggingface/pytorch-image-models/pull/2003",
        named(lambda name: f"module._orig_mod.{name}"),
    ),
    "`_module.` of Opacus": Layout(
        GITHUB + "microsoft/dp-transformers/issues/33", named(lambda name: f"_module.{name}")
    ),
    "lm_head beside the embedding, equal": Layout(
        GITHUB + "vllm-project/llm-compressor/pull/2798", safetensors(doubled)
    ),
    "lm_head alone, of a tied pair": Layout(
        GITHUB + "huggingface/transformers/issues/38870", safetensors(head_alone)
    ),
    "Linear weights, where GPT-2 has Conv1D": Layout(
        GITHUB + "karpathy/nanoGPT/issues/241", safetensors(lambda w: full(turned(w)))
    ),
    "LayerNorms with gamma and beta": Layout(
        GITHUB + "huggingface/transformers/issues/29554",
        named(lambda n: n.replace("ln_1.weight", "ln_1.gamma").replace("ln_1.bias", "ln_1.beta")),
    ),
    "safetensors in shards": Layout(
        HUB + "docs/transformers/main/big_models", shards(save_file, "model", "safetensors")
    ),
    "float16": Layout(HUB + "docs/safetensors/index", halves(torch.float16)),
    "bfloat16": Layout(HUB + "docs/safetensors/index", halves(torch.bfloat16)),
    "float64": Layout(HUB + "docs/safetensors/index", halves(torch.float64)),
    "pytorch_model.bin": Layout(
        HUB + "openai-community/gpt2",
        pickled("pytorch_model.bin", lambda w: tensors(doubled(w) | masks("transformer."))),
    ),
    "checkpoint-500 of Trainer, before PyTorch 1.6": Layout(
        GITHUB + "huggingface/transformers/issues/3974",
        pickled(
            "pytorch_model.bin",
            lambda weights: tensors(full(weights)),
            ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"),
            zipped=False,
        ),
    ),
    "pytorch_model.bin in shards": Layout(
        HUB + "docs/transformers/main/big_models",
        shards(lambda arrays, path: torch.save(tensors(arrays), path), "pytorch_model", "bin"),
    ),
    "medium_ft.pkl of DialoGPT": Layout(
        GITHUB + "andreamad8/DialoGPT2-Interact/issues/1", pickled("medium_ft.pkl", dialo)
    ),
    "epoch=1.ckpt of Lightning": Layout(
        GITHUB + "Lightning-AI/pytorch-lightning/issues/20233",
        pickled(
            "epoch=1.ckpt",
            lambda weights: {
                "state_dict": {f"model.{n}": t for n, t in tensors(full(weights)).items()},
                "epoch": 1,
                "pytorch-lightning_version": "2.5",
            },
        ),
    ),
    "model_05000.pt of build-nanogpt": Layout(
        GITHUB + "karpathy/build-nanogpt", build_nano, has_config=False
    ),
    "ckpt.pt of nanoGPT, compiled": Layout(
        GITHUB + "karpathy/nanoGPT/issues/325",
        pickled("ckpt.pt", nano),
        has_config=False,
        activation="gelu",
    ),
    "model.pt of minGPT": Layout(GITHUB + "karpathy/minGPT/issues/8", mini, has_config=False),
    "a state dict under a name of one's own": Layout(
        GITHUB + "pytorch/pytorch",
        pickled("best.pth", lambda weights: {"net": tensors(full(weights)), "epoch": 3}),
    ),
    "a directory of the hub's cache": Layout(
        HUB + "docs/huggingface_hub/guides/manage-cache", hub_cache, file="models--me--tales"
    ),
    "config.json with a byte order mark": Layout(
        GITHUB + "python/cpython/issues/62621",
        with_mark,
    ),
    "`_forward_module.` of Lightning's Fabric": Layout(
        GITHUB + "Lightning-AI/pytorch-lightning",
        named(lambda name: f"_forward_module.net.{name}"),
    ),
    "a class of one's own with a GPT-2 in it": Layout(
        HUB + "docs/transformers/custom_models",
        named(lambda name: f"chatbot.writer_2.{name}"),
    ),
    "gpt2_124M.bin of llm.c, float32": Layout(
        GITHUB + "karpathy/llm.c", llm_c(3, torch.float32), has_config=False
    ),
    "gpt2_124M_bf16.bin of llm.c": Layout(
        GITHUB + "karpathy/llm.c/pull/571", llm_c(5, torch.bfloat16), has_config=False
    ),
    "GGUF, F32": Layout(
        GITHUB + "ggml-org/llama.cpp/issues/5032", gguf_file("F32"), has_config=False
    ),
    "GGUF, F16, named as a file": Layout(
        GITHUB + "ggml-org/llama.cpp/issues/12567",
        gguf_file("F16"),
        file="model.gguf",
        has_config=False,
    ),
    "config.json of 2019": Layout(
        GITHUB + "huggingface/transformers/issues/582", safetensors(lambda w: w | masks()), OLD
    ),
    "config.json of 2019 with n_ctx alone": Layout(
        GITHUB + "openai/gpt-2", safetensors(full), OLD | {"n_positions": None}
    ),
    "a class of one's own, model_type gpt2": Layout(
        HUB + "docs/transformers/custom_models",
        safetensors(full),
        {"architectures": ["MyGPT2LMHeadModel"]},
        remark="config.json names MyGPT2LMHeadModel, which is no class of transformers",
    ),
    "safetensors named pytorch_model.bin": Layout(
        HUB + "docs/safetensors/index",
        lambda directory, weights: save_file(full(weights), directory / "pytorch_model.bin"),
    ),
    "GGUF named model.bin": Layout(
        GITHUB + "ggml-org/llama.cpp/issues/5032",
        gguf_renamed,
        has_config=False,
    ),
    "shards of a variant, fp16": Layout(
        HUB + "docs/diffusers/using-diffusers/loading", variant_shards
    ),
    "a bias of the head, which GPT-2 has not": Layout(
        HUB + "docs/transformers/model_doc/gptj",
        safetensors(lambda w: full(w) | {"lm_head.bias": np.ones(7552, np.float32)}),
        remark="left out, since a language model has no place for it: lm_head.bias",
    ),
    "more layers than config.json says": Layout(
        HUB + "docs/transformers/main_classes/model",
        safetensors(lambda w: full(w) | {"transformer.h.2.ln_1.weight": np.ones(48, np.float32)}),
        remark="left out, since config.json says 2 layers: layer 2 and what is behind it",
    ),
    "config.json with hidden_size and its kin": Layout(
        HUB + "docs/transformers/model_doc/gpt2", safetensors(full), {**SYNONYMS, **ROOT}
    ),
    "GPT2Model, which has no head": Layout(
        HUB + "docs/transformers/model_doc/gpt2",
        safetensors(lambda weights: weights),
        {"architectures": ["GPT2Model"]},
    ),
    "GPT2DoubleHeadsModel": Layout(
        GITHUB + "huggingface/transfer-learning-conv-ai",
        safetensors(with_heads),
        {"architectures": ["GPT2DoubleHeadsModel"]},
        remark="left out, since a language model has no place for it: ",
    ),
    "a value head of TRL": Layout(
        GITHUB + "huggingface/trl/pull/86",
        named(lambda name: f"pretrained_model.{name}"),
        {"architectures": ["AutoModelForCausalLMWithValueHead"]},
    ),
    "a classifier that has its lm_head still": Layout(
        HUB + "docs/transformers/model_doc/gpt2",
        safetensors(with_heads),
        {"architectures": ["GPT2ForSequenceClassification"]},
        remark="left out, since a language model has no place for it: ",
    ),
    "reorder_and_upcast_attn": Layout(
        GITHUB + "stanford-crfm/mistral", safetensors(full), {"reorder_and_upcast_attn": True}
    ),
    **{
        f"activation_function {name}": Layout(
            HUB + "docs/transformers/model_doc/gpt2",
            safetensors(full),
            {"activation_function": name},
        )
        for name, ours in NAMES.items()
        if ours == "gelu_new" != name
    },
}

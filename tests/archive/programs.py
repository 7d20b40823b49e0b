"""Writes the tiny model as nanoGPT, minGPT, llm.c and llama.cpp do."""

from __future__ import annotations

import json
import struct
from dataclasses import make_dataclass
from pathlib import Path

import gguf
import numpy as np
import torch

from tests.archive.checkpoints import EMBEDDED_MODEL
from tests.archive.tiny import Arrays, Json, Write, doubled, masks, tensors, turned


def nano(weights: Arrays) -> Json:
    """nanoGPT's ckpt.pt, of a compiled model."""
    state = {
        f"_orig_mod.{name}": tensor for name, tensor in tensors(doubled(turned(weights))).items()
    }
    sizes = {"n_layer": 2, "n_head": 4, "n_embd": 48, "block_size": 64, "vocab_size": 7552}
    return {
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
        "model_args": {**sizes, "bias": True, "dropout": 0.0},
        "iter_num": 100,
        "best_val_loss": torch.tensor(2.5),
        "config": {"out_dir": "out", "compile": True, "dtype": "bfloat16"},
    }


GPTConfig = make_dataclass("GPTConfig", ["block_size", "vocab_size", "n_layer", "n_head", "n_embd"])
GPTConfig.__module__ = "__main__"  # as in a script


def build_nano(directory: Path, weights: Arrays) -> None:
    """build-nanogpt's log/model_*.pt, whose config is a dataclass of the script."""
    import __main__

    __main__.GPTConfig = GPTConfig  # where a script's classes are
    try:
        state = tensors(doubled(turned(weights)) | masks("transformer."))
        config = GPTConfig(64, 7552, 2, 4, 48)
        content = {"model": state, "config": config, "step": 5000, "val_loss": 3.1}
        torch.save(content, directory / "model_05000.pt")
    finally:
        del __main__.GPTConfig


def mini(directory: Path, weights: Arrays) -> None:
    """minGPT's model.pt and the config.json of its working directory."""
    torch.save(tensors(doubled(turned(weights)) | masks("transformer.")), directory / "model.pt")
    model = {"model_type": None, "n_layer": 2, "n_head": 4, "n_embd": 48, "block_size": 64}
    config = {"system": {"seed": 3407}, "data": {"block_size": 64}, "model": model, "trainer": {}}
    (directory / "config.json").write_text(json.dumps(config))


def mini_of_2020(directory: Path, weights: Arrays) -> None:
    """minGPT's model.pt before 2022, and the heads in a config.json of someone's own."""
    linear = turned(weights)
    state = {"tok_emb.weight": linear["wte.weight"], "pos_emb": linear["wpe.weight"][None]}
    state["head.weight"] = linear.get("lm_head.weight", linear["wte.weight"])
    modules = {"ln1": "ln_1", "ln2": "ln_2", "attn.proj": "attn.c_proj"}
    modules |= {"mlp.0": "mlp.c_fc", "mlp.2": "mlp.c_proj"}
    for leaf in ("weight", "bias"):
        state[f"ln_f.{leaf}"] = linear[f"ln_f.{leaf}"]
        for layer in range(2):
            block = f"blocks.{layer}"
            fused = np.split(linear[f"h.{layer}.attn.c_attn.{leaf}"], 3)
            for part, values in zip(("query", "key", "value"), fused, strict=True):
                state[f"{block}.attn.{part}.{leaf}"] = values
            for old, module in modules.items():
                state[f"{block}.{old}.{leaf}"] = linear[f"h.{layer}.{module}.{leaf}"]
    for layer in range(2):
        state[f"blocks.{layer}.attn.mask"] = np.tril(np.ones((1, 1, 64, 64), np.float32))
    torch.save(tensors({f"module.{name}": each for name, each in state.items()}),
               directory / "model.pt")  # fmt: skip
    (directory / "config.json").write_text(json.dumps({"n_head": 4}))


def llm_c(version: int, dtype: torch.dtype) -> Write:
    """As llm.c's train_gpt2.py writes it: rows of the embedding up to a multiple of 128."""

    def write(directory: Path, weights: Arrays) -> None:
        rows = -(-7552 // 128) * 128
        header = [20240326, version, 64, 7552, 2, 4, 48, rows, *([0] * 248)]
        linear = turned(weights)
        wte = np.zeros((rows, 48), np.float32)
        wte[:7552] = linear["wte.weight"]
        parts = [wte, linear["wpe.weight"]]
        for module in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"):
            for leaf in ("weight", "bias"):
                parts += [linear[f"h.{layer}.{module}.{leaf}"] for layer in range(2)]
        parts += [linear["ln_f.weight"], linear["ln_f.bias"]]
        with (directory / "model.bin").open("wb") as file:
            file.write(struct.pack("<256i", *header))
            for part in parts:
                numbers = torch.tensor(part, dtype=dtype)
                file.write(numbers.view(torch.uint8).numpy().tobytes())

    return write


Q8_0 = gguf.GGMLQuantizationType.Q8_0
GGUF_NAMES = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output"}
GGUF_NAMES |= {"ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
GGUF_NAMES |= {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def gguf_file(kind: str, width: int = 48, pre: str = "") -> Write:
    """As llama.cpp's converter writes it, by its own library."""

    def write(directory: Path, weights: Arrays) -> None:
        writer = gguf.GGUFWriter(directory / "model.gguf", "gpt2")
        writer.add_context_length(64)
        writer.add_embedding_length(width)
        writer.add_feed_forward_length(4 * width)
        writer.add_block_count(2)
        writer.add_head_count(4)
        writer.add_layer_norm_eps(1e-5)
        model = json.loads((EMBEDDED_MODEL / "tokenizer.json").read_text())["model"]
        words = sorted(model["vocab"], key=model["vocab"].__getitem__)
        writer.add_tokenizer_model("gpt2")
        if pre:
            writer.add_tokenizer_pre(pre)
        writer.add_token_list(words)
        writer.add_token_types([3 if word == "<|endoftext|>" else 1 for word in words])
        writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
        for name, weight in turned(weights).items():
            layer, module, leaf = split(name)
            ours = f"{layer}{GGUF_NAMES[module]}.{leaf}"
            if kind == "F16" and weight.ndim == 2:
                weight = weight.astype(np.float16)
            if kind == "Q8_0" and weight.ndim == 2:
                writer.add_tensor(ours, gguf.quantize(weight, Q8_0), raw_dtype=Q8_0)
            else:
                writer.add_tensor(ours, weight)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return write


def gguf_renamed(directory: Path, weights: Arrays) -> None:
    gguf_file("F32")(directory, weights)
    (directory / "model.gguf").rename(directory / "model.bin")


def split(name: str) -> tuple[str, str, str]:
    """llama.cpp's beginning of a layer's name, our module, and weight or bias."""
    parts = name.split(".")
    layer = f"blk.{parts[1]}." if parts[0] == "h" else ""
    return layer, ".".join(parts[2:-1] if layer else parts[:-1]), parts[-1]

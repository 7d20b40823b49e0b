"""The forms that people's GPT-2s have, each written from the same tiny model."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from archive.checkpoint import read_shape
from tests.archive.checkpoints import EMBEDDED_MODEL, TINY, random_weights

Arrays = dict[str, NDArray[Any]]
Json = dict[str, Any]
Write = Callable[[Path, Arrays], None]
HUB = "https://huggingface.co/"
GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Form:
    """How people have a model, and where from.

    `write` puts it into a directory, of which `file` is what --model names where it is not the
    directory itself; `config` is what config.json says beside the sizes, `None` where there is
    none; `told` are words of a remark.
    """

    source: str
    write: Write
    config: Json | None = None
    file: str = ""
    has_config: bool = True
    told: str = ""
    activation: str = "gelu_new"


def tiny_config(**changes: Any) -> Json:
    return {**TINY, "n_embd": 48, "n_positions": 64, **changes}


def tiny_weights(directory: Path, **changes: Any) -> Arrays:
    """Weights of which every one is exact in each half: seven bits of it."""
    (directory / "config.json").write_text(json.dumps(tiny_config(**changes)))
    weights = random_weights(read_shape(directory))
    # Gains lie around one, all else around zero.
    units = {name: 64 if weight.mean() > 0.5 else 512 for name, weight in weights.items()}
    return {
        name: np.rint(weight * units[name]).clip(-127, 127).astype(np.float32) / units[name]
        for name, weight in weights.items()
    }


def full(weights: Arrays) -> Arrays:
    """By GPT2LMHeadModel's own names."""
    return {name if name.startswith("lm_head") else f"transformer.{name}": weight
            for name, weight in weights.items()}  # fmt: skip


def tensors(arrays: Arrays, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}


def masks(prefix: str = "") -> Arrays:
    mask = np.tril(np.ones((1, 1, 64, 64), np.float32))
    found: Arrays = {f"{prefix}h.{layer}.attn.bias": mask for layer in range(2)}
    return found | {
        f"{prefix}h.{i}.attn.masked_bias": np.full((), -1e4, np.float32) for i in (0, 1)
    }


def turned(weights: Arrays) -> Arrays:
    """Matrices [out, in], as nn.Linear has them."""
    parts = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    return {name: np.ascontiguousarray(weight.T) if name.endswith(parts) else weight
            for name, weight in weights.items()}  # fmt: skip


def named(change: Callable[[str], str]) -> Write:
    def write(directory: Path, weights: Arrays) -> None:
        save_file({change(name): weight for name, weight in full(weights).items()},
                  directory / "model.safetensors")  # fmt: skip

    return write


def safetensors(change: Callable[[Arrays], Arrays]) -> Write:
    return lambda directory, weights: save_file(change(weights), directory / "model.safetensors")


def halves(dtype: torch.dtype) -> Write:
    return lambda directory, weights: save_torch_file(
        tensors(full(weights), dtype), directory / "model.safetensors"
    )


def doubled(weights: Arrays) -> Arrays:
    return full(weights) | {"lm_head.weight": weights["wte.weight"]}


def head_alone(weights: Arrays) -> Arrays:
    rest = {name: weight for name, weight in full(weights).items() if "wte" not in name}
    return rest | {"lm_head.weight": weights["wte.weight"]}


def with_heads(weights: Arrays) -> Arrays:
    value = {"v_head.summary.weight": np.ones((1, 48), np.float32)}
    value |= {"multiple_choice_head.summary.weight": np.ones((1, 48), np.float32)}
    return doubled(weights) | value | {"score.weight": np.ones((2, 48), np.float32)}


def shards(save: Callable[[Any, Path], Any], name: str, ending: str) -> Write:
    def write(directory: Path, weights: Arrays) -> None:
        names = list(full(weights))
        halves = [names[::2], names[1::2]]
        where = {}
        for number, part in enumerate(halves, 1):
            file = f"{name}-{number:05d}-of-00002.{ending}"
            save({key: full(weights)[key] for key in part}, directory / file)
            where |= dict.fromkeys(part, file)
        index = {"metadata": {}, "weight_map": where}
        (directory / f"{name}.{ending}.index.json").write_text(json.dumps(index))

    return write


def pickled(
    name: str, content: Callable[[Arrays], Any], beside: tuple[str, ...] = (), zipped: bool = True
) -> Write:
    def write(directory: Path, weights: Arrays) -> None:
        path = directory / name
        torch.save(content(weights), path, _use_new_zipfile_serialization=zipped)
        for other in beside:  # of a trainer: not opened at all
            (directory / other).write_bytes(b"not looked at")

    return write


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


def hub_cache(directory: Path, weights: Arrays) -> None:
    """models--ORG--NAME of the hub's cache: blobs, and links to them."""
    snapshot = directory / "models--me--tales" / "snapshots" / "607a30d"
    snapshot.mkdir(parents=True)
    for name in ("blobs", "refs"):
        (snapshot.parents[1] / name).mkdir()
    save_file(full(weights), snapshot.parents[1] / "blobs" / "abc")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (snapshot / name).write_bytes((directory / name).read_bytes())
    (snapshot.parents[1] / "refs" / "main").write_text("607a30d")


def with_mark(directory: Path, weights: Arrays) -> None:
    """As an editor on Windows saves it."""
    path = directory / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    save_file(full(weights), directory / "model.safetensors")


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


def gguf_file(kind: str, width: int = 48) -> Write:
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


def split(name: str) -> tuple[str, str, str]:
    """llama.cpp's beginning of a layer's name, our module, and weight or bias."""
    parts = name.split(".")
    layer = f"blk.{parts[1]}." if parts[0] == "h" else ""
    return layer, ".".join(parts[2:-1] if layer else parts[:-1]), parts[-1]


def dialo(weights: Arrays) -> Json:
    """DialoGPT's medium_ft.pkl: names of pytorch-pretrained-bert, halves."""
    state = full(weights) | {"lm_head.decoder.weight": weights["wte.weight"]}
    return tensors(state, torch.float16)


OLD = {"architectures": None, "model_type": None, "n_ctx": 64, "summary_type": "cls_index"}
SYNONYMS = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SYNONYMS |= {"max_position_embeddings": 64}
ROOT = dict.fromkeys(("n_embd", "n_layer", "n_head", "n_positions"))

# What is the same model once it is read: archives of it have the same bytes.
SAME: dict[str, Form] = {
    "safetensors as `save_pretrained` writes it": Form(
        HUB + "distilbert/distilgpt2", safetensors(full)
    ),
    "no prefix, masks among the weights": Form(
        HUB + "openai-community/gpt2", safetensors(lambda weights: weights | masks())
    ),
    "`_orig_mod.` of torch.compile": Form(
        GITHUB + "pytorch/pytorch/issues/101107", named(lambda name: f"_orig_mod.{name}")
    ),
    "`module.` of DataParallel": Form(
        GITHUB + "pytorch/pytorch/issues/3805", named(lambda name: f"module.{name}")
    ),
    "`module._orig_mod.`, both": Form(
        GITHUB + "huggingface/pytorch-image-models/pull/2003",
        named(lambda name: f"module._orig_mod.{name}"),
    ),
    "`_module.` of Opacus": Form(
        GITHUB + "microsoft/dp-transformers/issues/33", named(lambda name: f"_module.{name}")
    ),
    "lm_head beside the embedding, equal": Form(
        GITHUB + "vllm-project/llm-compressor/pull/2798", safetensors(doubled)
    ),
    "lm_head alone, of a tied pair": Form(
        GITHUB + "huggingface/transformers/issues/38870", safetensors(head_alone)
    ),
    "Linear weights, where GPT-2 has Conv1D": Form(
        GITHUB + "karpathy/nanoGPT/issues/241", safetensors(lambda w: full(turned(w)))
    ),
    "LayerNorms with gamma and beta": Form(
        GITHUB + "huggingface/transformers/issues/29554",
        named(lambda n: n.replace("ln_1.weight", "ln_1.gamma").replace("ln_1.bias", "ln_1.beta")),
    ),
    "safetensors in shards": Form(
        HUB + "docs/transformers/main/big_models", shards(save_file, "model", "safetensors")
    ),
    "float16": Form(HUB + "docs/safetensors/index", halves(torch.float16)),
    "bfloat16": Form(HUB + "docs/safetensors/index", halves(torch.bfloat16)),
    "float64": Form(HUB + "docs/safetensors/index", halves(torch.float64)),
    "pytorch_model.bin": Form(
        HUB + "openai-community/gpt2",
        pickled("pytorch_model.bin", lambda w: tensors(doubled(w) | masks("transformer."))),
    ),
    "checkpoint-500 of Trainer, before PyTorch 1.6": Form(
        GITHUB + "huggingface/transformers/issues/3974",
        pickled(
            "pytorch_model.bin",
            lambda weights: tensors(full(weights)),
            ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"),
            zipped=False,
        ),
    ),
    "pytorch_model.bin in shards": Form(
        HUB + "docs/transformers/main/big_models",
        shards(lambda arrays, path: torch.save(tensors(arrays), path), "pytorch_model", "bin"),
    ),
    "medium_ft.pkl of DialoGPT": Form(
        GITHUB + "andreamad8/DialoGPT2-Interact/issues/1", pickled("medium_ft.pkl", dialo)
    ),
    "epoch=1.ckpt of Lightning": Form(
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
    "model_05000.pt of build-nanogpt": Form(
        GITHUB + "karpathy/build-nanogpt", build_nano, has_config=False
    ),
    "ckpt.pt of nanoGPT, compiled": Form(
        GITHUB + "karpathy/nanoGPT/issues/325",
        pickled("ckpt.pt", nano),
        has_config=False,
        activation="gelu",
    ),
    "model.pt of minGPT": Form(GITHUB + "karpathy/minGPT/issues/8", mini, has_config=False),
    "a state dict under a name of one's own": Form(
        GITHUB + "pytorch/pytorch",
        pickled("best.pth", lambda weights: {"net": tensors(full(weights)), "epoch": 3}),
    ),
    "a directory of the hub's cache": Form(
        HUB + "docs/huggingface_hub/guides/manage-cache", hub_cache, file="models--me--tales"
    ),
    "config.json with a byte order mark": Form(
        GITHUB + "python/cpython/issues/62621",
        with_mark,
    ),
    "`_forward_module.` of Lightning's Fabric": Form(
        GITHUB + "Lightning-AI/pytorch-lightning",
        named(lambda name: f"_forward_module.net.{name}"),
    ),
    "gpt2_124M.bin of llm.c, float32": Form(
        GITHUB + "karpathy/llm.c", llm_c(3, torch.float32), has_config=False
    ),
    "gpt2_124M_bf16.bin of llm.c": Form(
        GITHUB + "karpathy/llm.c/pull/571", llm_c(5, torch.bfloat16), has_config=False
    ),
    "GGUF, F32": Form(
        GITHUB + "ggml-org/llama.cpp/issues/5032", gguf_file("F32"), has_config=False
    ),
    "GGUF, F16, named as a file": Form(
        GITHUB + "ggml-org/llama.cpp/issues/12567",
        gguf_file("F16"),
        file="model.gguf",
        has_config=False,
    ),
    "config.json of 2019": Form(
        GITHUB + "huggingface/transformers/issues/582", safetensors(lambda w: w | masks()), OLD
    ),
    "config.json with hidden_size and its kin": Form(
        HUB + "docs/transformers/model_doc/gpt2", safetensors(full), {**SYNONYMS, **ROOT}
    ),
    "GPT2Model, which has no head": Form(
        HUB + "docs/transformers/model_doc/gpt2",
        safetensors(lambda weights: weights),
        {"architectures": ["GPT2Model"]},
    ),
    "GPT2DoubleHeadsModel": Form(
        GITHUB + "huggingface/transfer-learning-conv-ai",
        safetensors(with_heads),
        {"architectures": ["GPT2DoubleHeadsModel"]},
        told="left out, since a language model has no place for it: ",
    ),
    "a value head of TRL": Form(
        GITHUB + "huggingface/trl/pull/86",
        named(lambda name: f"pretrained_model.{name}"),
        {"architectures": ["AutoModelForCausalLMWithValueHead"]},
    ),
    "a classifier that has its lm_head still": Form(
        HUB + "docs/transformers/model_doc/gpt2",
        safetensors(with_heads),
        {"architectures": ["GPT2ForSequenceClassification"]},
        told="left out, since a language model has no place for it: ",
    ),
    "reorder_and_upcast_attn": Form(
        GITHUB + "stanford-crfm/mistral", safetensors(full), {"reorder_and_upcast_attn": True}
    ),
    "activation_function gelu_pytorch_tanh": Form(
        HUB + "docs/transformers/model_doc/gpt2",
        safetensors(full),
        {"activation_function": "gelu_pytorch_tanh"},
    ),
    "activation_function gelu_fast": Form(
        HUB + "docs/transformers/model_doc/gpt2",
        safetensors(full),
        {"activation_function": "gelu_fast"},
    ),
}


@dataclass(frozen=True)
class Shape:
    """A GPT-2 that computes otherwise than most.

    `write` puts it into a directory, as `Form.write` does; `means` gives the weights that it has.
    `near` is how near log probabilities are: gelu by erf and by tanh differ by three times as much.
    """

    source: str
    config: Json
    write: Write = safetensors(full)
    means: Callable[[Arrays], Arrays] = lambda weights: weights
    file: str = ""
    told: str = ""
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


LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 32, "fan_in_fan_out": True, "bias": "none"}


def lora_factors() -> Arrays:
    """Two factors for each layer's c_attn and square c_proj, named as PEFT names them."""
    generator = np.random.default_rng(5)
    found: Arrays = {}
    for layer in range(2):
        for module, width in (("c_attn", 144), ("c_proj", 48)):
            name = f"base_model.model.transformer.h.{layer}.attn.{module}"
            for side, shape in (("A", (4, 48)), ("B", (width, 4))):
                values = generator.standard_normal(shape, np.float32) * np.float32(0.1)
                found[f"{name}.lora_{side}.weight"] = values
    return found


def lora(factors: Callable[[], Arrays]) -> Write:
    """An adapter beside the directory of its base, which it names by a relative path."""

    def write(directory: Path, weights: Arrays) -> None:
        save_file(full(weights), directory / "model.safetensors")
        adapter = directory / "adapter"
        adapter.mkdir()
        save_file(factors(), adapter / "adapter_model.safetensors")
        says = {"base_model_name_or_path": "..", "target_modules": ["c_attn", "c_proj"]}
        (adapter / "adapter_config.json").write_text(json.dumps(LORA | says))

    return write


def with_lora(weights: Arrays) -> Arrays:
    factors, merged = lora_factors(), dict(weights)
    for layer in range(2):
        for module in ("c_attn", "c_proj"):
            name = f"base_model.model.transformer.h.{layer}.attn.{module}.lora_"
            product = factors[f"{name}B.weight"] @ factors[f"{name}A.weight"]
            key = f"h.{layer}.attn.{module}.weight"
            merged[key] = merged[key] + product.T * np.float32(32 / 4)
    return merged


def dora_factors() -> Arrays:
    lengths = np.random.default_rng(6)
    return lora_factors() | {
        name.replace("lora_A.weight", "lora_magnitude_vector"): lengths.uniform(
            0.5, 2, 48 if "c_proj" in name else 144
        ).astype(np.float32)
        for name in lora_factors()
        if "lora_A" in name
    }


def among_weights(directory: Path, weights: Arrays) -> None:
    """A checkpoint of a trainer in which PEFT's modules were not taken out."""
    named = {f"base_model.model.{name}": weight for name, weight in full(weights).items()}
    marks = {"c_attn.": "c_attn.base_layer.", "attn.c_proj.": "attn.c_proj.base_layer."}
    for plain, wrapped in marks.items():
        named = {name.replace(plain, wrapped): weight for name, weight in named.items()}
    factors = {
        name.replace("_A.", "_A.default.").replace("_B.", "_B.default."): each
        for name, each in lora_factors().items()
    }
    save_file(named | factors, directory / "model.safetensors")
    (directory / "adapter_config.json").write_text(
        json.dumps(LORA | {"base_model_name_or_path": "."})
    )


def with_dora(weights: Arrays) -> Arrays:
    merged = with_lora(weights)
    for name, lengths in dora_factors().items():
        if name.endswith("lora_magnitude_vector"):
            key = name.removeprefix("base_model.model.transformer.")
            key = key.replace("lora_magnitude_vector", "weight")
            merged[key] = merged[key] * (lengths / np.linalg.norm(merged[key], axis=0))
    return merged


TINY_RANDOM = HUB + "hf-internal-testing/tiny-random-gpt2"
GPT2_DOCS = HUB + "docs/transformers/model_doc/gpt2"
# What is served as `transformers` computes it, greedy, token for token.
SHAPES: dict[str, Shape] = {
    "activation_function gelu": Shape(GPT2_DOCS, {"activation_function": "gelu"}),
    "activation_function relu": Shape(GPT2_DOCS, {"activation_function": "relu"}),
    "activation_function silu": Shape(GPT2_DOCS, {"activation_function": "silu"}),
    "no biases": Shape(
        GITHUB + "karpathy/nanoGPT",
        {},
        safetensors(without_biases),
        no_biases,
        told="the model has no biases: zeros stand for them",
    ),
    "lm_head that differs, though config.json says tied": Shape(
        GITHUB + "huggingface/peft/issues/2777",
        {},
        safetensors(lambda weights: full(other_head(weights))),
        other_head,
        told="the file's head is served",
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

"""Checkpoint directory -> GGUF as llama.cpp's own converter lays it out.

q8_0 is written as it is read; q4_0 is made of floats by llama.cpp's own quantiser, with its usual
choices, as `llama-quantize` makes it: the head, which is the embedding, in six or eight bits.
"""

from __future__ import annotations

import ctypes
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_LAYER = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_TOP = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def gguf_name(name: str) -> str | None:
    """Name a tensor as GGUF does; None for what is no weight."""
    name = name.removeprefix("transformer.")
    stem, _, kind = name.rpartition(".")
    if stem in _TOP:
        return f"{_TOP[stem]}.{kind}"
    if stem.startswith("h."):
        _, layer, rest = stem.split(".", 2)
        if rest in _LAYER and kind in ("weight", "bias"):
            return f"blk.{layer}.{_LAYER[rest]}.{kind}"
    return None


def convert(checkpoint: Path, target: Path, precision: str) -> None:
    """Write `target` with "q8_0" or "q4_0" weights."""
    if precision == "q8_0":
        write(checkpoint, target, "Q8_0")
        return
    floats = target.with_suffix(".floats")
    write(checkpoint, floats, "F32")
    _quantize(floats, target)
    floats.unlink()


def _quantize(source: Path, target: Path) -> None:
    llama: Any = import_module("llama_cpp")
    llama.llama_backend_init()
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype = llama.LLAMA_FTYPE_MOSTLY_Q4_0
    status = llama.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(parameters)
    )
    if status:
        raise RuntimeError(f"llama_model_quantize returned {status}")


def write(checkpoint: Path, target: Path, precision: str) -> None:
    """Write `target`; the tied head is left out, as llama.cpp takes the embedding for it."""
    gguf: Any = import_module("gguf")
    np: Any = import_module("numpy")
    load_file: Any = import_module("safetensors.numpy").load_file
    config = json.loads((checkpoint / "config.json").read_text())
    writer = gguf.GGUFWriter(str(target), "gpt2")
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    _add_tokenizer(writer, checkpoint, config)
    kind = gguf.GGMLQuantizationType[precision]
    for name, tensor in load_file(checkpoint / "model.safetensors").items():
        target_name = gguf_name(name)
        if target_name is None:
            continue
        values = tensor.astype(np.float32)
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            values = np.ascontiguousarray(values.T)  # GPT-2 keeps its products as [in, out]
        if values.ndim == 2 and target_name != "position_embd.weight":
            writer.add_tensor(target_name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(target_name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, checkpoint: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"] | {
        token["content"]: token["id"] for token in tokenizer.get("added_tokens", ())
    }
    tokens = [f"<unused{i}>" for i in range(config["vocab_size"])]
    for text, index in vocabulary.items():
        if index < len(tokens):
            tokens[index] = text
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

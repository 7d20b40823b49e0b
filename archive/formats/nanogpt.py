"""Configs of training scripts: nanoGPT's ckpt.pt, build-nanogpt's model_*.pt, minGPT's model.pt.

Their tensors have GPT2LMHeadModel's names; what differs is read by names.py and layout.py.
https://github.com/karpathy/nanoGPT, build-nanogpt, minGPT
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from archive.errors import CheckpointError
from archive.formats.names import plain_name
from archive.formats.tensors import StoredTensor
from archive.gpt2_own import END_ID, SIZE, gpt2_tokenizer
from archive.letters import has_letters

# minGPT names a model by its size: heads by type, since nothing in the weights gives them.
MINGPT_HEADS = {
    **{"openai-gpt": 12, "gpt2": 12, "gpt2-medium": 16, "gpt2-large": 20, "gpt2-xl": 25},
    **{"gopher-44m": 16, "gpt-mini": 6, "gpt-micro": 4, "gpt-nano": 3},
}
DATASET = re.compile(r"\w[\w.-]*")
LAYER = re.compile(r"h\.(\d+)\.")
# GPT-2's own tokens, and those counted up to a multiple of 64 or 128, with rows that mean nothing.
USUAL_SIZES = (SIZE, 50304, 50432)


def training_config(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the config of a training checkpoint as GPT2Config has it; None if it has none.

    Args:
        configs: What lay beside the tensors, as `torch_file.TorchContent` has it.
    """
    nano = configs.get("model_args")
    if nano is not None:
        # nn.GELU() since June 2023; before, GELU by tanh, of which the file says nothing.
        return _config(nano["values"], "gelu")
    build = configs.get("config")
    if build is not None and build["kind"] == "GPTConfig":
        return _config(build["values"], "gelu_new")
    return None


def mingpt_config(
    config: Mapping[str, Any], tensors: Mapping[str, StoredTensor]
) -> dict[str, Any] | None:
    """Return minGPT's config.json as GPT2Config has it, or None if it is not minGPT's."""
    model = config.get("model")
    if not isinstance(model, Mapping) or "n_head" not in model:
        return None
    heads = model["n_head"] or MINGPT_HEADS.get(str(model.get("model_type")))
    if heads is None:
        raise CheckpointError("config.json: model.n_head is missing, and model_type names no size")
    return gpt2_config({**sizes(tensors), "n_head": heads}, "gelu_new")


def sizes(tensors: Mapping[str, StoredTensor]) -> dict[str, int]:
    """Return the sizes that tensors show; heads are not among them."""
    found = {plain_name(name): tensor.shape for name, tensor in tensors.items()}
    layers = [int(match[1]) for match in map(LAYER.match, found) if match]
    if not layers or len(found.get("wpe.weight", ())) != 2 or "wte.weight" not in found:
        raise CheckpointError("the weights are not a GPT-2's: wte, wpe or layers are missing")
    return {
        "n_layer": 1 + max(layers),
        "n_positions": found["wpe.weight"][0],
        "n_embd": found["wpe.weight"][1],
        "vocab_size": found["wte.weight"][0],
    }


def gpt2_config(numbers: Mapping[str, int], activation: str) -> dict[str, Any]:
    """Return a config of these sizes, with GPT-2's end of text where there is room for it."""
    end = END_ID if numbers["vocab_size"] > END_ID else None
    return {
        **numbers,
        "model_type": "gpt2",
        "activation_function": activation,
        "bos_token_id": end,
        "eos_token_id": end,
    }


def usual_tokenizer(config: Mapping[str, Any]) -> Tokenizer | None:
    """Return GPT-2's own tokenizer where the size says that a training script took it."""
    return gpt2_tokenizer() if config["vocab_size"] in USUAL_SIZES else None


def letters_directory(directory: Path, configs: Mapping[str, Mapping[str, Any]]) -> Path | None:
    """Return where nanoGPT keeps the characters of the text that a checkpoint was trained on.

    That is data/DATASET beside the directory of the checkpoint; None if nothing lies there, or if
    the checkpoint's own directory has them.
    """
    dataset = configs.get("config", {}).get("values", {}).get("dataset")
    if has_letters(directory) or not isinstance(dataset, str) or not DATASET.fullmatch(dataset):
        return None
    data = directory.resolve().parent / "data" / dataset
    return data if has_letters(data) else None


def _config(values: Mapping[str, Any], activation: str) -> dict[str, Any]:
    names = ("n_layer", "n_head", "n_embd", "vocab_size", "block_size")
    missing = [name for name in names if not isinstance(values.get(name), int)]
    if missing:
        raise CheckpointError(f"the training checkpoint's config lacks {missing[0]}: not nanoGPT's")
    numbers = {name: values[name] for name in names}
    return gpt2_config(numbers | {"n_positions": numbers.pop("block_size")}, activation)

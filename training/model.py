"""GPT-2 to train: a fresh one, or one that exists already."""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, GPT2Config, GPT2LMHeadModel

from handler.engine.activations import NAMES
from training.errors import TrainingError
from training.foreign import is_foreign, load_foreign_model

# On a CPU the fused attention's backward pass is slower than the plain one (docs/training.md).
ATTENTION = "sdpa" if torch.cuda.is_available() else "eager"


def new_model(
    vocab_size: int, context: int, layers: int, width: int, heads: int, dropout: float
) -> GPT2LMHeadModel:
    """A GPT-2 with fresh weights; residual outputs start smaller, as in the GPT-2 paper."""
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation=ATTENTION,
    )
    model = GPT2LMHeadModel(config)
    residual = config.initializer_range / math.sqrt(2 * layers)
    for name, parameter in model.named_parameters():
        if name.endswith("c_proj.weight"):
            torch.nn.init.normal_(parameter, std=residual)
    return model


def load_model(source: str, **overrides: Any) -> GPT2LMHeadModel:
    """GPT-2 from a directory, a file or a model hub, in float32; from the hub safetensors only.

    Raises:
        TrainingError: not a GPT-2, no such model, or the hub is out of reach.
    """
    if is_foreign(source):
        return load_foreign_model(source, ATTENTION, **overrides)
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise TrainingError(_not_found(source)) from error
    if config.model_type != "gpt2":
        raise TrainingError(
            f"{source} is not GPT-2: its config.json says model_type {config.model_type!r}"
        )
    if config.activation_function not in NAMES:
        raise TrainingError(
            f"{source} has activation_function {config.activation_function!r}; package_model takes "
            f"{', '.join(NAMES)}"
        )
    try:
        model, loading = GPT2LMHeadModel.from_pretrained(
            source,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            output_loading_info=True,
            **overrides,
        )
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{source} has no model.safetensors that can be read") from error
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"{source}: the weights do not have the sizes that its config.json says"
        ) from error
    missing = sorted(loading["missing_keys"])
    if missing:
        raise TrainingError(
            f"{source}: model.safetensors lacks {missing[0]} and {len(missing) - 1} more weights"
        )
    return model


def _not_found(source: str) -> str:
    if Path(source).is_dir():
        return f"{source} holds no readable config.json: it is no GPT-2 checkpoint"
    return (
        f"{source} is neither a directory with a GPT-2 checkpoint nor a model on the hub "
        "(no such name, or the hub cannot be reached)"
    )

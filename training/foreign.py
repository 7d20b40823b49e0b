"""Models in other formats than transformers' own (llm.c, GGUF, nanoGPT, .bin ...), to start from.

archive/formats reads them, as it does for packaging.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from archive.checkpoint import Checkpoint, open_checkpoint
from archive.errors import CheckpointError
from archive.formats.lora import find_adapter
from archive.formats.open import find_weights
from training.errors import TrainingError

OWN_FILE = "model.safetensors"


def is_foreign(source: str) -> bool:
    """Whether a model lies there in another format."""
    path = Path(source)
    if path.is_file():
        return True
    if not path.is_dir() or (path / OWN_FILE).is_file():
        return False
    try:
        find_weights(path)
    except CheckpointError:
        return not (path / "config.json").is_file()
    return True


def load_foreign_model(source: str, attention: str, **settings: Any) -> GPT2LMHeadModel:
    """The model as float32.

    Raises:
        TrainingError: it is damaged, or no GPT-2 that can be packed.
    """
    checkpoint = _open(source)
    config = GPT2Config(**checkpoint.config)
    config.update(settings)
    config.bos_token_id = checkpoint.tokens.begin
    config.eos_token_id = _end(checkpoint)
    model = GPT2LMHeadModel._from_config(config, attn_implementation=attention, dtype=torch.float32)
    parameters = dict(model.named_parameters())
    try:
        with torch.no_grad():
            for name in checkpoint.weights:
                whole = name if name.startswith("lm_head.") else f"transformer.{name}"
                parameters[whole].copy_(torch.from_numpy(checkpoint.weights[name]))
    except CheckpointError as error:
        raise TrainingError(f"{source}: {error}") from error
    return model


def load_foreign_tokenizer(source: str) -> PreTrainedTokenizerFast:
    """The tokenizer that lies beside the model, in its file, or that its format always has."""
    checkpoint = _open(source)
    tokenizer = checkpoint.tokenizer
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokenizer.id_to_token(checkpoint.tokens.begin),
        eos_token=tokenizer.id_to_token(_end(checkpoint)),
        model_max_length=checkpoint.shape.max_length,
        clean_up_tokenization_spaces=False,
    )


def _end(checkpoint: Checkpoint) -> int:
    return next(iter(checkpoint.tokens.end), checkpoint.tokens.begin)


@lru_cache(maxsize=1)  # its weights are read one at a time, and not kept
def _open(source: str) -> Checkpoint:
    path = Path(source)
    if find_adapter(path) is not None:
        raise TrainingError(
            f"{source} is an adapter; merge it into its model first: "
            "model.merge_and_unload().save_pretrained(DIR) of peft"
        )
    try:
        return open_checkpoint(path, source)
    except CheckpointError as error:
        raise TrainingError(f"{source}: {error}") from error

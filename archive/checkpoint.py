"""A GPT-2 checkpoint, checked: what it is, its weights one at a time, its tokenizer.

Knows the layout of Hugging Face's GPT2LMHeadModel; knows nothing of files, engines or archives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from archive.errors import CheckpointError
from archive.formats.config import architectures, needs_head, normal_config, odd_architecture
from archive.formats.layout import HEAD, gpt2_layout
from archive.formats.names import plain_name, plain_names
from archive.formats.open import open_stored
from archive.formats.tensors import StoredModel, StoredTensor
from archive.gpt2_own import OWN_TOKENIZER
from archive.letters import has_letters, read_letters
from archive.reading import read_json, refuse_pointers
from archive.text_tokens import TextTokens, find_text_tokens
from archive.tokenizer import (
    CheckpointTokenizer,
    given_tokenizer,
    has_tokenizer,
    load_tokenizer,
    own_tokenizer,
)
from handler.engine.model import ModelShape

Weights = Mapping[str, NDArray[np.float32]]


class LazyWeights(Mapping[str, NDArray[np.float32]]):
    """Weights that are read from their file each time one is asked for, and checked then."""

    def __init__(self, tensors: Mapping[str, StoredTensor], file: str) -> None:
        self._tensors = tensors
        self._file = file

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        weight = self._tensors[name].read()
        if not np.isfinite(weight).all():
            raise CheckpointError(
                f"{self._file}: {name} holds values that are not finite; download it again, or "
                "take a checkpoint from before the training went wrong"
            )
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@dataclass(frozen=True)
class Checkpoint:
    """A checked GPT-2: float32 weights by their names without `transformer.`.

    Attributes:
        name: What messages call it.
        directory: Where generation_config.json and model card may lie.
        shape: Its sizes; `tied_head` says what the weights say.
        weights: In memory (`load_checkpoint`), or read one at a time (`open_checkpoint`).
        tokenizer: As it is served.
        tokens: Which tokens have a meaning of their own.
        config: The archive's config.json: every number of `shape` under GPT2Config's name.
        format: What people call the format of the weights.
        remarks: What is odd, for the person who packs.
    """

    name: str
    directory: Path
    shape: ModelShape
    weights: Weights
    tokenizer: Tokenizer
    tokens: TextTokens
    config: dict[str, Any]
    format: str = "safetensors"
    remarks: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of trained parameters; a tied head counts once."""
        return sum(map(prod, weight_shapes(self.shape).values()))


def load_checkpoint(
    path: Path, name: str, tokenizer: Path | None = None, base: Path | None = None
) -> Checkpoint:
    """Load and check a checkpoint with all its weights; see `open_checkpoint`.

    All weights are in memory, 4 bytes each. What works layer by layer opens it instead.
    """
    checkpoint = open_checkpoint(path, name, tokenizer, base)
    return replace(checkpoint, weights=dict(checkpoint.weights.items()))


def open_checkpoint(
    path: Path, name: str, tokenizer: Path | None = None, base: Path | None = None
) -> Checkpoint:
    """Open and check a checkpoint, but for its weights' values; read those one at a time.

    `checkpoint.weights` is a mapping from which each `weights[name]` is read from the file, as
    float32, checked to be finite, and not kept: to work layer by layer, ask for the names of one
    layer (`layer_shapes`), use them, and let them go. Nothing is cached, so ask once for each.

    Args:
        path: A directory, or a file of a format that has all in one.
        name: What error messages call it.
        tokenizer: The directory of another tokenizer than the checkpoint's; OWN_TOKENIZER is
            GPT-2's own.
        base: Where the model lies that an adapter changes, if `path` is an adapter.

    Raises:
        CheckpointError: It is no GPT-2 language model with a tokenizer that can be served; while
            reading, a weight is cut short or not finite.
    """
    stored = open_stored(path, base)
    config = normal_config(stored.config)
    if needs_head(stored.config) and not _has_head(stored):
        raise CheckpointError(
            f"config.json names {architectures(stored.config)[0]}, and the weights have no "
            "lm_head: it is not a language model"
        )
    shape = ModelShape.from_config(config)
    if shape.layers > len(stored.tensors):  # of a number that lies, a list would take all memory
        plain_names(stored.tensors)  # where they are no model's, it says of what they are
        raise CheckpointError(
            f"config.json: n_layer is {shape.layers:,}, and the weights have "
            f"{len(stored.tensors):,} tensors"
        )
    layout = gpt2_layout(
        stored.tensors, weight_shapes(replace(shape, tied_head=True)), shape.tied_head
    )
    shape = replace(shape, tied_head=layout.is_tied)
    found = _tokenizer(stored, config, tokenizer)
    return Checkpoint(
        name=name,
        directory=stored.directory,
        shape=shape,
        weights=LazyWeights(layout.tensors, stored.file),
        tokenizer=found.tokenizer,
        tokens=find_text_tokens(stored.directory, config, shape.vocab_size, found),
        config=config | {"tie_word_embeddings": layout.is_tied},
        format=stored.format,
        remarks=(*stored.remarks, *odd_architecture(stored.config), *layout.remarks),
    )


def _tokenizer(
    stored: StoredModel, config: Mapping[str, Any], given: Path | None
) -> CheckpointTokenizer:
    """The tokenizer that was asked for, that lies there, or that the format has."""
    vocab_size = config["vocab_size"]
    if given == OWN_TOKENIZER:
        return own_tokenizer(vocab_size)
    directory = given or stored.tokenizer_directory or stored.directory
    refuse_pointers(directory)
    has_other = has_tokenizer(directory) or (given is None and stored.tokenizer is not None)
    if has_letters(directory) and not has_other:
        tokenizer, begin = read_letters(directory, vocab_size)
        return given_tokenizer(tokenizer, begin, None, vocab_size)
    if given is not None:
        return load_tokenizer(given, vocab_size)
    if stored.tokenizer is None or has_tokenizer(directory):
        return load_tokenizer(directory, vocab_size)
    ends = [config.get(name) for name in ("bos_token_id", "eos_token_id")]
    bos, eos = (token if isinstance(token, int) else None for token in ends)
    return given_tokenizer(stored.tokenizer, bos, eos, vocab_size)


def _has_head(stored: StoredModel) -> bool:
    return any(plain_name(name) == HEAD for name in stored.tensors)


def read_shape(directory: Path) -> ModelShape:
    """Read config.json and check that it describes a GPT-2 that the engine can compute."""
    config = normal_config(read_json(directory / "config.json"))
    return ModelShape.from_config(config)


def weight_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Return every weight that a checkpoint of this shape must have."""
    width = shape.width
    expected: dict[str, tuple[int, ...]] = {
        "wte.weight": (shape.vocab_size, width),
        "wpe.weight": (shape.max_length, width),
        "ln_f.weight": (width,),
        "ln_f.bias": (width,),
    }
    for layer in range(shape.layers):
        expected |= layer_shapes(shape, layer)
    if not shape.tied_head:
        expected["lm_head.weight"] = (shape.vocab_size, width)
    return expected


def layer_shapes(shape: ModelShape, layer: int) -> dict[str, tuple[int, ...]]:
    """Return the weights of one layer."""
    width, inner = shape.width, shape.inner_width
    expected: dict[str, tuple[int, ...]] = {}
    for norm in ("ln_1", "ln_2"):
        expected[f"h.{layer}.{norm}.weight"] = (width,)
        expected[f"h.{layer}.{norm}.bias"] = (width,)
    for product, rows, columns in (
        ("attn.c_attn", width, 3 * width),
        ("attn.c_proj", width, width),
        ("mlp.c_fc", width, inner),
        ("mlp.c_proj", inner, width),
    ):
        expected[f"h.{layer}.{product}.weight"] = (rows, columns)
        expected[f"h.{layer}.{product}.bias"] = (columns,)
    return expected

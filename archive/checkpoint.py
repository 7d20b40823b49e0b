"""Reads a GPT-2 checkpoint from a directory and refuses what could not be served.

Knows the layout of Hugging Face's GPT2LMHeadModel; knows nothing of graphs or archives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - without it numpy knows no bfloat16
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from archive.errors import CheckpointError
from archive.reading import read_json
from archive.text_tokens import TextTokens, find_text_tokens
from archive.tokenizer import load_tokenizer

Weights = dict[str, NDArray[np.float32]]

ARCHITECTURE = "GPT2LMHeadModel"
ACTIVATION = "gelu_new"
# Causal masks that old checkpoints carry along; they are not weights.
IGNORED_SUFFIXES = (".attn.bias", ".attn.masked_bias")


@dataclass(frozen=True)
class ModelShape:
    """The numbers of config.json that the graph is built from."""

    n_layer: int
    n_head: int
    n_embd: int
    n_inner: int
    n_positions: int
    vocab_size: int
    layer_norm_epsilon: float
    tied_head: bool
    scale_attn_weights: bool
    scale_attn_by_inverse_layer_idx: bool

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    def attention_scale(self, layer: int) -> float:
        """Return what query-key products of `layer` are multiplied by."""
        scale = self.head_dim**-0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale


@dataclass(frozen=True)
class Checkpoint:
    """A checked GPT-2: float32 weights by their names without `transformer.`."""

    name: str
    directory: Path
    shape: ModelShape
    weights: Weights
    tokenizer: Tokenizer
    tokens: TextTokens

    @property
    def parameters(self) -> int:
        """Number of trained parameters; a tied head counts once."""
        return sum(weight.size for weight in self.weights.values())


def load_checkpoint(directory: Path, name: str) -> Checkpoint:
    """Load and check the checkpoint in `directory`; `name` is what error messages call it.

    Raises CheckpointError for anything but a finite GPT2LMHeadModel in safetensors with a tokenizer
    that can be served.
    """
    shape = read_shape(directory)
    tokenizer = load_tokenizer(directory, shape.vocab_size)
    tokens = find_text_tokens(directory, shape.vocab_size, tokenizer)
    weights = _read_weights(directory, shape)
    return Checkpoint(name, directory, shape, weights, tokenizer.tokenizer, tokens)


def read_shape(directory: Path) -> ModelShape:
    """Read config.json and check that it describes a GPT-2 that the graph can express."""
    config = read_json(directory / "config.json")
    kinds = config.get("architectures") or [ARCHITECTURE]
    if config.get("model_type") != "gpt2" or ARCHITECTURE not in kinds:
        found = ", ".join(map(str, kinds)) if config.get("architectures") else "unknown"
        raise CheckpointError(
            f"not a GPT-2 language model: config.json says model_type "
            f"{config.get('model_type')!r}, architecture {found}; {ARCHITECTURE} is needed"
        )
    activation = config.get("activation_function", ACTIVATION)
    if activation != ACTIVATION:
        raise CheckpointError(
            f"activation_function {activation!r} is not supported; {ACTIVATION!r} is needed"
        )
    if config.get("add_cross_attention"):
        raise CheckpointError("add_cross_attention is not supported")
    return _shape_from(config)


def _shape_from(config: dict[str, Any]) -> ModelShape:
    def whole(key: str, default: int, minimum: int = 1) -> int:
        value = config.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise CheckpointError(f"config.json: {key} is {value!r}, a number >= {minimum} needed")
        return value

    n_embd, n_head = whole("n_embd", 768), whole("n_head", 12)
    if n_embd % n_head:
        raise CheckpointError(f"config.json: n_embd {n_embd} is not a multiple of n_head {n_head}")
    return ModelShape(
        n_layer=whole("n_layer", 12),
        n_head=n_head,
        n_embd=n_embd,
        n_inner=whole("n_inner", 4 * n_embd),
        n_positions=whole("n_positions", 1024),
        vocab_size=whole("vocab_size", 50257),
        layer_norm_epsilon=float(config.get("layer_norm_epsilon", 1e-5)),
        tied_head=bool(config.get("tie_word_embeddings", True)),
        scale_attn_weights=bool(config.get("scale_attn_weights", True)),
        scale_attn_by_inverse_layer_idx=bool(config.get("scale_attn_by_inverse_layer_idx", False)),
    )


def weight_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Return every weight that a checkpoint of this shape must have."""
    width, inner = shape.n_embd, shape.n_inner
    expected: dict[str, tuple[int, ...]] = {
        "wte.weight": (shape.vocab_size, width),
        "wpe.weight": (shape.n_positions, width),
        "ln_f.weight": (width,),
        "ln_f.bias": (width,),
    }
    for layer in range(shape.n_layer):
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
    if not shape.tied_head:
        expected["lm_head.weight"] = (shape.vocab_size, width)
    return expected


def weight_files(directory: Path) -> list[Path]:
    """Return the checkpoint's safetensors files: one, or the shards that its index names."""
    single = directory / "model.safetensors"
    if single.is_file():
        return [single]
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise CheckpointError(f"{index.name} is broken: it has no weight_map")
        shards = [directory / Path(str(shard)).name for shard in sorted(set(weight_map.values()))]
        for shard in shards:
            if not shard.is_file():
                raise CheckpointError(f"{shard.name} is missing, {index.name} asks for it")
        return shards
    if list(directory.glob("*.bin")) or list(directory.glob("*.pt")):
        raise CheckpointError(
            "the weights are pickle files, which are never loaded: "
            "save them with save_pretrained(..., safe_serialization=True)"
        )
    raise CheckpointError("no model.safetensors in the checkpoint")


def _tensors(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the tensors of one file under the names without `transformer.`."""
    try:
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - not a dict
                name = key.removeprefix("transformer.")
                if not name.endswith(IGNORED_SUFFIXES):
                    yield name, file.get_tensor(key)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path.name} is broken or cut short ({error})") from None


def _read_weights(directory: Path, shape: ModelShape) -> Weights:
    expected = weight_shapes(shape)
    weights: Weights = {}
    for path in weight_files(directory):
        for name, tensor in _tensors(path):
            if name not in expected:
                continue
            if tensor.shape != expected[name]:
                raise CheckpointError(
                    f"{name} has shape {list(tensor.shape)}, config.json asks for "
                    f"{list(expected[name])}"
                )
            weight = np.ascontiguousarray(tensor, dtype=np.float32)
            if not np.isfinite(weight).all():
                raise CheckpointError(f"{name} holds values that are not finite")
            weights[name] = weight
    missing = [name for name in expected if name not in weights]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"the checkpoint lacks {missing[0]}{more}")
    return weights

"""Tokens in, logits out: what the engine asks of a model, whoever computes it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from handler.engine.kv_cache import KVSlab, Slab
from handler.engine.sampler import Sampler
from handler.engine.settings import EngineSettings
from handler.errors import ModelError

Logits = npt.NDArray[np.float32]

# What config.json may name as the feed-forward layer's activation; many names mean the same.
ACTIVATIONS = {
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"), "gelu_new"),
    **{"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"},
}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a GPT-2, and what it computes with them."""

    layers: int
    heads: int
    width: int
    max_length: int
    vocab_size: int
    epsilon: float = 1e-5
    scale_attention: bool = True
    scale_by_layer: bool = False
    tied_head: bool = True
    inner: int = 0  # width of the feed-forward layer; 0: four times that of the model
    activation: str = "gelu_new"  # "gelu_new" (by tanh), "gelu" (by erf), "relu" or "silu"

    @property
    def inner_width(self) -> int:
        """Width of the feed-forward layer."""
        return self.inner or 4 * self.width

    @classmethod
    def from_config(cls, config: dict[str, object]) -> ModelShape:
        """Read the sizes from a checkpoint's config.json."""

        def number(name: str) -> int:
            value = config.get(name)
            if not isinstance(value, int):
                raise ModelError(f"config.json has no whole number {name}")
            return value

        epsilon = config.get("layer_norm_epsilon", 1e-5)
        inner = config.get("n_inner")
        activation = str(config.get("activation_function", "gelu_new"))
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ModelError(
                f"config.json has the activation_function {activation!r}, known are {known}"
            )
        return cls(
            number("n_layer"),
            number("n_head"),
            number("n_embd"),
            number("n_positions"),
            number("vocab_size"),
            float(epsilon) if isinstance(epsilon, (int, float)) else 1e-5,
            bool(config.get("scale_attn_weights", True)),
            bool(config.get("scale_attn_by_inverse_layer_idx", False)),
            bool(config.get("tie_word_embeddings", True)),
            inner if isinstance(inner, int) else 0,
            ACTIVATIONS[activation],
        )

    def attention_scale(self, layer: int) -> float:
        """What the products of queries and keys are multiplied by, as the checkpoint says."""
        scale = (self.width // self.heads) ** -0.5 if self.scale_attention else 1.0
        return scale / (layer + 1) if self.scale_by_layer else scale

    def slab(self, slots: int, dtype: npt.DTypeLike = np.float32) -> KVSlab:
        """Room for the keys and values of `slots` sequences; an even number of positions each.

        A prompt of an odd length is computed with one more row (`OnnxModel.prefill`).
        """
        return KVSlab(
            layers=self.layers,
            slots=slots,
            heads=self.heads,
            max_length=self.max_length + self.max_length % 2,
            head_dim=self.width // self.heads,
            dtype=dtype,
        )


class Model(Protocol):
    """A GPT-2 over a slab of slots. Not thread-safe: the engine's thread alone calls it."""

    shape: ModelShape

    @property
    def is_exact(self) -> bool:
        """Whether a position has the same bits however it was computed.

        Then prompts may be cut anywhere, and positions that were decoded may be reused.
        """
        ...

    @property
    def sampler(self) -> Sampler:
        """Who chooses from its logits."""
        ...

    @property
    def slab(self) -> Slab:
        """Memory of the slots."""
        ...

    def prefill(
        self, slot: int, tokens: npt.NDArray[np.int64], start: int, num_logits: int
    ) -> Logits:
        """Compute positions start .. start + len(tokens) of a slot.

        Args:
            slot: The row of the slab; positions before `start` hold their keys and values.
            tokens: int64 [count].
            start: Position of the first of them.
            num_logits: How many of the last positions need logits (0 to count).

        Returns:
            float32 [num_logits, vocab]; valid until the next call.
        """
        ...

    def decode(self, tokens: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Logits:
        """Compute one position for each of the slots 0 .. n - 1.

        Args:
            tokens: int64 [n], the newest token of each.
            lengths: int64 [n], positions that each slot holds already.

        Returns:
            float32 [n, vocab]; valid until the next call.
        """
        ...


def load_model(directory: Path, shape: ModelShape, settings: EngineSettings) -> Model:
    """Load what the archive carries, with the engine its settings name.

    Raises:
        ModelError: The weights are missing or can not be read.
    """
    if settings.kind == "torch":
        try:  # torch costs a second, and need not be installed: only where used
            from handler.engine.torch_model import TorchModel
        except ModuleNotFoundError as error:
            raise ModelError(
                f"engine: torch needs {error.name}, which is not installed: "
                "./scripts/serve --model ARCHIVE.mar installs it, ./scripts/image --torch has it"
            ) from None

        return TorchModel.load(directory / "model.safetensors", shape, settings)
    if settings.kind == "native":
        from handler.engine.native_model import NativeModel

        return NativeModel.load(directory, shape, settings)
    # ONNX Runtime reads it as it is imported; else it keeps an id of this machine and reports.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from handler.engine.onnx_model import OnnxModel

    return OnnxModel.load(directory / "model.onnx", shape, settings)

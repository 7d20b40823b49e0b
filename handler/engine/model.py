"""The interface of a model, as the engine uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from handler.engine.activations import NAMES
from handler.engine.errors import ModelError
from handler.engine.step import Answer, Ask, Deadline, DecodeStep, Draw, Rows
from handler.older_pythons import SLOTS


@dataclass(frozen=True, **SLOTS)
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
    activation: str = "gelu_new"  # one of activations.FINISHES

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
        if activation not in NAMES:
            known = ", ".join(NAMES)
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
            NAMES[activation],
        )

    def attention_scale(self, layer: int) -> float:
        """What the products of queries and keys are multiplied by, as the checkpoint says."""
        scale = (self.width // self.heads) ** -0.5 if self.scale_attention else 1.0
        return scale / (layer + 1) if self.scale_by_layer else scale


class Buffer(Protocol):
    """Memory for the keys and values of sequences, one slot each."""

    slots: int
    max_length: int

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one position over all layers."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        ...

    def release(self, slot: int, length: int = 0) -> None:
        """Give the memory of a slot back to the system, but for its first `length` positions."""
        ...


class Model(Protocol):
    """A GPT-2 over a KV buffer. Not thread-safe: the engine's thread alone calls it.

    Attributes:
        shape: Its sizes.
        is_exact: Whether a position has the same bits however it was computed. Then positions that
            were generated may be reused.
        isa: The instruction set that computes; empty where a library chooses for itself.
        buffer: Where it keeps keys and values.
    """

    shape: ModelShape
    is_exact: bool

    @property
    def isa(self) -> str:
        """The instruction set that computes; empty where a library chooses for itself."""
        ...

    @property
    def buffer(self) -> Buffer:
        """Where it keeps keys and values."""
        ...

    def step(self, rows: Rows, asks: Sequence[Ask]) -> list[Answer]:
        """Compute keys and values of any mix of rows, and answer what is asked of some of them.

        Args:
            rows: int32 [count, 3]: token, slot, position. All earlier positions of a slot have been
                computed, in this step or before.
            asks: In any order.

        Returns:
            An answer for each of `asks`.
        """
        ...

    def decode(
        self,
        rows: Rows,
        draws: Sequence[Draw],
        uniforms: npt.NDArray[np.float64],
        until: Deadline,
    ) -> list[DecodeStep]:
        """Run a step, and others on the tokens that it chooses, as far as nobody has to look.

        They end with the step in which a sequence ends, and before `until`. A model may run one.

        Args:
            rows: int32 [sequences, 3]: the newest token of each sequence, slot, position.
            draws: One for each row, without log probabilities.
            uniforms: In place of each draw's, float64 [steps at most, sequences].
            until: Others may change it meanwhile.

        Returns:
            The steps that were run, at least one.
        """
        ...

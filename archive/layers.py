"""Computes windows of text with a model of which one layer at a time is in memory.

The engine's own step computes each layer, so that what comes out is bit for bit what the whole
model gives.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from archive.checkpoint import Weights
from archive.progress import Progress
from archive.text import Tokens
from handler.engine.model import ModelShape
from handler.engine.native.library import NativeStep
from handler.engine.native.matrices import Array, Floats, padded, widened
from handler.engine.native.weights import pack_embeddings, pack_head, pack_layer, uniform

Arrays = dict[str, Array]
Number = TypeVar("Number", bound=np.generic)
# Rows whose logits are computed at a time: a model of 50,257 tokens needs 26 MB for them.
HEAD_ROWS = 128


class Source(Protocol):
    """Where the arrays of a model come from, a part at a time."""

    @property
    def shape(self) -> ModelShape:
        """The model's sizes."""
        ...

    @property
    def cache(self) -> str:
        """What keys and values are kept as."""
        ...

    def embeddings(self) -> tuple[Array, Array]:
        """Token and position embeddings."""
        ...

    def layer(self, layer: int) -> Arrays:
        """One layer's arrays, under `layer.0`."""
        ...

    def head(self) -> Arrays:
        """The last LayerNorm and the head."""
        ...


@dataclass(frozen=True)
class FloatSource:
    """A checkpoint's weights, as they are."""

    weights: Weights
    shape: ModelShape
    cache: str = "float32"

    def embeddings(self) -> tuple[Array, Array]:
        """See `Source.embeddings`."""
        tokens, positions = pack_embeddings(self.weights, uniform("float32"))
        return tokens[1], positions[1]

    def layer(self, layer: int) -> Arrays:
        """See `Source.layer`."""
        return dict(pack_layer(self.weights, self.shape, uniform("float32"), layer, "layer.0"))

    def head(self) -> Arrays:
        """See `Source.head`."""
        return dict(pack_head(self.weights, self.shape, uniform("float32")))

    def inputs(self, name: str) -> int:
        """Inputs of a matrix of each layer, those that only pad among them."""
        shape = self.shape
        if name == "projection":
            return shape.heads * padded(shape.width // shape.heads)
        return padded(shape.inner_width if name == "contract" else shape.width)


@dataclass(frozen=True)
class FileSource:
    """A file of arrays that was written for the engine."""

    path: Path
    shape: ModelShape
    cache: str

    def embeddings(self) -> tuple[Array, Array]:
        """See `Source.embeddings`."""
        found = self._read("token_embedding", "position_embedding")
        return found["token_embedding"], found["position_embedding"]

    def layer(self, layer: int) -> Arrays:
        """See `Source.layer`."""
        prefix = f"layer.{layer}."
        found = self._read(prefix)
        return {f"layer.0.{name.removeprefix(prefix)}": each for name, each in found.items()}

    def head(self) -> Arrays:
        """See `Source.head`."""
        return self._read("norm.", "head.")

    def _read(self, *prefixes: str) -> Arrays:
        with safe_open(self.path, framework="np") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names if name.startswith(prefixes)}


@dataclass(frozen=True)
class LayerShape(ModelShape):
    """Sizes of one layer, which knows which one it was."""

    index: int = 0

    def attention_scale(self, layer: int) -> float:
        """See `ModelShape.attention_scale`."""
        return ModelShape.attention_scale(self, self.index)


Watch = Callable[[Arrays], None]


class Layerwise:
    """Runs windows through a model of which one part at a time is in memory."""

    def __init__(self, source: Source, library: ctypes.CDLL, threads: int) -> None:
        self._source, self._library, self._threads = source, library, threads

    def hidden(
        self,
        windows: Sequence[Tokens],
        progress: Progress,
        prepare: Watch | None = None,
        done: Callable[[int, Arrays], None] | None = None,
    ) -> list[Floats]:
        """Return what the last layer gives for each window: float32 [length, width].

        Args:
            windows: Tokens, int64 [length] each.
            progress: Is advanced with each layer.
            prepare: See `walk`.
            done: Sees a layer's arrays after it ran.
        """
        states = self.embed(windows)
        for index, arrays in self.walk(states, prepare):
            if done:
                done(index, arrays)
            progress.advance(1)
        return states

    def walk(
        self, states: list[Floats], prepare: Watch | None = None
    ) -> Iterator[tuple[int, Arrays]]:
        """Compute one layer after the other, in place; yield each layer's arrays afterwards.

        Args:
            states: Of `embed`.
            prepare: Sees a layer's arrays before it runs, and may add to them.
        """
        for index in range(self._source.shape.layers):
            arrays = self._source.layer(index)
            if prepare:
                prepare(arrays)
            self._run_layer(index, arrays, states)
            yield index, arrays

    def head(self, arrays: Arrays | None = None) -> Head:
        """Return what makes logits of rows of `hidden`."""
        arrays = self._source.head() if arrays is None else arrays
        return Head(self._library, arrays, self._source.shape, self._threads)

    def embed(self, windows: Sequence[Tokens]) -> list[Floats]:
        """Return what the first layer is given for each window: float32 [length, width]."""
        tokens, positions = self._source.embeddings()
        width = self._source.shape.width
        return [
            np.add(tokens[window, :width], positions[: len(window), :width], dtype=np.float32)
            for window in windows
        ]

    def _run_layer(self, index: int, arrays: Arrays, states: list[Floats]) -> None:
        longest, shape = max(map(len, states)), self._source.shape
        of_layer = {name: getattr(shape, name) for name in shape.__dataclass_fields__}
        of_layer |= {"layers": 1, "max_length": longest, "vocab_size": 1}
        given = np.zeros((longest, padded(shape.width)), np.float32)
        step = NativeStep(
            self._library,
            arrays | _no_words(given) | _no_head(padded(shape.width)),
            LayerShape(**of_layer, index=index),
            cache=self._source.cache,
            slots=1,
            max_rows=longest,
            threads=self._threads,
            is_part=True,
        )
        for state in states:
            given[: len(state), : shape.width] = state
            step.step(_rows(len(state)), range(len(state)), None, state)


class Head:
    """Makes logits of what the last layer gave."""

    def __init__(
        self, library: ctypes.CDLL, arrays: Arrays, shape: ModelShape, threads: int
    ) -> None:
        self._given = np.zeros((HEAD_ROWS, padded(shape.width)), np.float32)
        self._width = shape.width
        self._logits = np.empty((HEAD_ROWS, shape.vocab_size), np.float32)
        words = np.zeros((shape.vocab_size, padded(shape.width)), np.float16)
        self._step = NativeStep(
            library,
            arrays | _no_words(self._given) | {"token_embedding": words},
            replace(shape, layers=0, max_length=HEAD_ROWS),
            slots=1,
            max_rows=HEAD_ROWS,
            threads=threads,
        )

    def logits(self, rows: Floats) -> Floats:
        """Logits [count, vocabulary] of at most HEAD_ROWS rows; valid until the next call."""
        self._step.step(*self._place(rows), self._logits[: len(rows)])
        return self._logits[: len(rows)]

    def watch(self, states: Sequence[Floats]) -> None:
        """Have `head.peaks` see rows, of which no logits are made."""
        for state in states:
            for rows in split(state):
                self._step.step(*self._place(rows), None)

    def _place(self, rows: Floats) -> tuple[NDArray[np.int32], range]:
        count = len(rows)
        self._given[:count, : self._width] = rows
        return _rows(count), range(count)


def _rows(count: int) -> NDArray[np.int32]:
    """Token 0 of slot 0 at each position: what stands there is in the position embedding."""
    rows = np.zeros((count, 3), np.int32)
    rows[:, 2] = np.arange(count)
    return rows


def _no_words(given: Floats) -> Arrays:
    return {
        "token_embedding": np.zeros((1, given.shape[1]), np.float16),
        "position_embedding": given,
    }


def _no_head(inputs: int) -> Arrays:
    columns = widened(np.zeros(1, np.float32), 32)
    return {
        "head.weight": np.zeros((1, inputs // 4, 32, 4), np.int8),
        "head.scale": columns,
        "head.sum": columns.astype(np.int32),
        "head.bias": columns,
    }


def split(rows: NDArray[Number]) -> Iterator[NDArray[Number]]:
    """Cut rows into chunks that a `Head` takes."""
    for start in range(0, len(rows), HEAD_ROWS):
        yield rows[start : start + HEAD_ROWS]

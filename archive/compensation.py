"""Rounds matrices to four bits so that what they give changes least, a layer at a time.

Each weight's error is made up for by those that are rounded after it (GPTQ, Frantar et al. 2022),
as the products of the matrix's own inputs say, which are watched on the text for calibration. The
native kernels compute all of it, in one order of every sum: every machine rounds alike.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from archive.layers import Arrays, FloatSource, Layerwise
from archive.progress import Progress
from archive.text import Tokens
from handler.engine.native.matrices import (
    GROUP,
    LANES,
    Array,
    Floats,
    LinearArrays,
    Packer,
    pack_pairs,
    padded,
)
from handler.engine.native.weights import SOURCES, pack_embeddings, pack_head, pack_layer

# What is added to the squares of each input, in parts of their mean: it keeps what few words say
# from being taken for a rule. GPTQ's own.
DAMPING = 0.01
SPLIT_ROWS = 32  # of round.h
COLUMNS_AT_ONCE = 64 * LANES


class Rounder:
    """Packs matrices in four bits by the products of their inputs."""

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        pointer, number, real = ctypes.c_void_p, ctypes.c_int32, ctypes.c_float
        library.gpt2_split_gram.restype = library.gpt2_round.restype = None
        library.gpt2_split_gram.argtypes = [pointer, number, real, pointer, pointer]
        library.gpt2_round.argtypes = [pointer, number, number, *[pointer] * 6]
        self._library = library
        self._pool = ThreadPoolExecutor(threads)

    def pack(self, gram: Floats, weight: Floats, bias: Floats) -> LinearArrays:
        """Pack a matrix.

        Args:
            gram: float32 [K_pad, K_pad], sums of products of its inputs, in the upper half. It
                comes to hold something else.
            weight: float32 [K, N].
            bias: float32 [N].

        Raises:
            ValueError: A weight is not finite.
        """
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError("a weight is not finite")
        inputs, outputs = len(gram), weight.shape[1]
        squares = math.fsum(gram.diagonal().tolist()) / inputs
        influence = np.zeros(inputs, np.float32)
        room = np.empty((SPLIT_ROWS, inputs), np.float32)
        self._library.gpt2_split_gram(
            gram.ctypes.data,
            inputs,
            DAMPING * squares or 1.0,  # of inputs that are never there nothing is known
            influence.ctypes.data,
            room.ctypes.data,
        )
        units = np.empty((inputs, outputs), np.int8)
        multiple = np.empty((inputs // GROUP, outputs), np.uint8)
        scale = np.empty(outputs, np.float32)

        def round_some(first: int) -> None:
            some = slice(first, first + COLUMNS_AT_ONCE)
            found = self._round(weight[:, some], gram, influence)
            units[:, some], multiple[:, some], scale[some] = found

        list(self._pool.map(round_some, range(0, outputs, COLUMNS_AT_ONCE)))
        return pack_pairs(units, multiple, scale, bias)

    def _round(self, weight: Floats, upper: Floats, influence: Floats) -> tuple[Array, ...]:
        """Round columns; see `round.h`. Returns units, multiples and scales."""
        inputs, outputs = len(upper), weight.shape[1]
        tiles = padded(outputs) // LANES
        matrix = np.zeros((tiles, inputs, LANES), np.float32)
        for tile in range(tiles):
            columns = weight[:, tile * LANES : (tile + 1) * LANES]
            matrix[tile, : len(columns), : columns.shape[1]] = columns
        units = np.empty((tiles, inputs, LANES), np.int8)
        multiple = np.empty((tiles, inputs // GROUP, LANES), np.uint8)
        scale = np.empty((tiles, LANES), np.float32)
        error = np.empty((inputs, LANES), np.float32)
        arrays = (upper, influence, units, multiple, scale, error)
        self._library.gpt2_round(
            matrix.ctypes.data, inputs, tiles, *(each.ctypes.data for each in arrays)
        )
        return (
            units.transpose(1, 0, 2).reshape(inputs, -1)[:, :outputs],
            multiple.transpose(1, 0, 2).reshape(len(multiple[0]), -1)[:, :outputs],
            scale.reshape(-1)[:outputs],
        )


def pack_compensated(
    source: FloatSource,
    model: Layerwise,
    windows: list[Tokens],
    precisions: Mapping[str, str],
    rounder: Rounder,
    progress: Progress,
) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of a model as `pack_model` does, those of four bits rounded with care.

    Args:
        source: The weights.
        model: What computes them.
        windows: Text for watching inputs, int64 [length] each.
        precisions: What each of MATRICES is kept as.
        rounder: Packs what is kept as "int4".
        progress: Is advanced with each layer, and once with the head.

    Raises:
        ValueError: A weight is not finite, or too large for half precision.
    """
    weights, shape = source.weights, source.shape
    watched = [name for name in SOURCES if precisions[name] == "int4"]

    def watch(arrays: Arrays) -> None:
        for name in watched:
            size = source.inputs(name)
            arrays[f"layer.0.{name}.gram"] = np.zeros((size, size), np.float32)

    def packers(prefix: str, arrays: Arrays, names: list[str]) -> dict[str, Packer]:
        return {
            name: partial(rounder.pack, np.asarray(arrays[f"{prefix}{name}.gram"], np.float32))
            for name in names
        }

    yield from pack_embeddings(weights, precisions)
    states = model.embed(windows)
    for layer, arrays in model.walk(states, watch):
        found = packers("layer.0.", arrays, watched)
        yield from pack_layer(weights, shape, precisions, layer, f"layer.{layer}", found)
        progress.advance(1)
    found = {}
    if precisions["head"] == "int4":
        size = padded(shape.width)
        arrays = source.head() | {"head.gram": np.zeros((size, size), np.float32)}
        model.head(arrays).watch(states)
        found = packers("", arrays, ["head"])
    yield from pack_head(weights, shape, precisions, found)
    progress.advance(1)

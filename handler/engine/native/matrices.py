"""The memory layout of one weight matrix for the C code (matmul.h), and how it is packed.

Everything here is exact or a single rounding of IEEE 754, so that the same matrix gives the same
bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]
LANES = 16
PANEL = 32
# Seven bits: AVX2 adds two products of bytes in sixteen bits, and more would not be exact there.
WEIGHT_LIMIT = 63
# Inputs of a column that share a multiple, in four bits: see unpack.h.
GROUP = 16
LARGEST_MULTIPLE = 8
# A column of nothing larger becomes zeros: its scale would be no normal number.
SMALLEST = np.float32(1e-30)
# Columns that are rounded at a time, so that they stay in a core's cache.
BLOCK = 16 * PANEL


def padded(size: int, multiple: int = LANES) -> int:
    """`size`, rounded up to a multiple."""
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class LinearArrays:
    """One weight matrix of K inputs and N outputs, packed.

    weight: int8 [N_pad / 32, K_pad / 4, 32, 4], uint8 pairs [N_pad / 32, K_pad / 8, 32, 4] or
    float32 [N_pad / 32, K_pad, 32]. scale: float32 [N_pad], what one unit of a column is worth.
    sum: int32 [N_pad], its weights added up. bias: float32 [N_pad]. multiple: uint8
    [N_pad / 32, K_pad / 32, 32] beside pairs. scale and sum are of no use for floats.
    """

    weight: npt.NDArray[np.int8] | npt.NDArray[np.uint8] | Floats
    scale: Floats
    sum: npt.NDArray[np.int32]
    bias: Floats
    multiple: npt.NDArray[np.uint8] | None = None

    def named(self, prefix: str) -> Iterator[tuple[str, Array]]:
        """The arrays by name, as a file holds them."""
        for each in fields(self):
            array = getattr(self, each.name)
            if array is not None:
                yield f"{prefix}.{each.name}", array


def pack_int8(weight: Floats, bias: Floats) -> LinearArrays:
    """Pack a matrix as signed bytes, one scale a column.

    Args:
        weight: float32 [K, N].
        bias: float32 [N].

    Raises:
        ValueError: A weight is not finite.
    """
    check_finite(weight, bias)
    inputs, outputs = weight.shape
    rows, columns = padded(inputs), padded(outputs, PANEL)
    packed = np.empty((columns // PANEL, rows // 4, PANEL, 4), np.int8)
    scale, sums = np.zeros(columns, np.float32), np.zeros(columns, np.int32)
    for start in range(0, outputs, BLOCK):
        block = np.array(weight[:, start : start + BLOCK], np.float32, order="C")
        end = start + block.shape[1]
        largest = np.maximum(block.max(axis=0), -block.min(axis=0))
        scale[start:end] = np.where(largest > SMALLEST, largest / np.float32(WEIGHT_LIMIT), 1.0)
        np.divide(block, scale[start:end], out=block)
        wide = np.zeros((rows, padded(end - start, PANEL)), np.int8)
        wide[:inputs, : end - start] = np.rint(block, out=block)
        sums[start : start + wide.shape[1]] = wide.sum(axis=0, dtype=np.int32)
        panels = wide.reshape(rows // 4, 4, -1, PANEL).transpose(2, 0, 3, 1)
        packed[start // PANEL : start // PANEL + len(panels)] = panels
    return LinearArrays(packed, scale, sums, _widened(bias, PANEL))


def pack_int4(weight: Floats, bias: Floats) -> LinearArrays:
    """Pack a matrix in four bits, each weight rounded by itself.

    Args:
        weight: float32 [K, N].
        bias: float32 [N].

    Raises:
        ValueError: A weight is not finite.
    """
    check_finite(weight, bias)
    inputs, outputs = weight.shape
    rows = padded(inputs)
    whole = np.zeros((rows, outputs), np.float32)
    whole[:inputs] = weight
    groups = whole.reshape(rows // GROUP, GROUP, outputs)
    largest = np.maximum(groups.max(axis=1), -groups.min(axis=1))
    of_column = largest.max(axis=0)
    limit = np.float32(LARGEST_MULTIPLE * 7)
    scale = np.where(of_column > SMALLEST, of_column / limit, np.float32(1))
    multiple = np.clip(np.ceil(largest / (scale * np.float32(7))), 1, LARGEST_MULTIPLE)
    units = np.clip(np.rint(groups / (scale * multiple[:, None])), -8, 7)
    return pack_pairs(
        units.reshape(rows, outputs).astype(np.int8), multiple.astype(np.uint8), scale, bias
    )


def pack_pairs(
    units: npt.NDArray[np.int8], multiple: npt.NDArray[np.uint8], scale: Floats, bias: Floats
) -> LinearArrays:
    """Lay weights out that were rounded to four bits.

    Args:
        units: int8 [K_pad, N], -8 .. 7.
        multiple: uint8 [K_pad / 16, N], what a unit of a group is worth in units of its column.
        scale: float32 [N], what that is worth.
        bias: float32 [N].
    """
    rows, outputs = units.shape
    columns = padded(outputs, PANEL)
    nibbles = np.full((rows, columns), 8, np.uint8)
    np.add(units, np.int8(8), out=nibbles[:, :outputs], casting="unsafe")
    # [K_pad / 8, low or high, 4, panels, 32]
    eights = nibbles.reshape(rows // 8, 2, 4, columns // PANEL, PANEL)
    pairs = eights[:, 0] | eights[:, 1] << np.uint8(4)
    all_multiples = np.zeros((padded(len(multiple), 2), columns), np.uint8)
    all_multiples[: len(multiple), :outputs] = multiple
    multiples = all_multiples.reshape(-1, 2, columns // PANEL, PANEL)
    both = multiples[:, 0] | multiples[:, 1] << np.uint8(4)
    of_groups = units.reshape(-1, GROUP, outputs).sum(axis=1, dtype=np.int32)
    sums = np.zeros(columns, np.int32)
    sums[:outputs] = (of_groups * multiple).sum(axis=0, dtype=np.int32)
    scales = np.zeros(columns, np.float32)
    scales[:outputs] = scale
    return LinearArrays(
        np.ascontiguousarray(pairs.transpose(2, 0, 3, 1)),
        scales,
        sums,
        _widened(bias, PANEL),
        np.ascontiguousarray(both.transpose(1, 0, 2)),
    )


def pack_float(weight: Floats, bias: Floats) -> LinearArrays:
    """Pack a matrix [K, N] as the floats that it holds.

    Raises:
        ValueError: A weight is not finite.
    """
    check_finite(weight, bias)
    inputs, outputs = weight.shape
    rows, columns = padded(inputs), padded(outputs, PANEL)
    packed = np.zeros((columns // PANEL, rows, PANEL), np.float32)
    for start in range(0, outputs, PANEL):
        block = weight[:, start : start + PANEL]
        packed[start // PANEL, :inputs, : block.shape[1]] = block
    return LinearArrays(
        packed, np.ones(columns, np.float32), np.zeros(columns, np.int32), _widened(bias, PANEL)
    )


def widened(array: Array, multiple: int = LANES) -> Array:
    """`array` with zeros behind its last axis, up to a multiple."""
    missing = padded(array.shape[-1], multiple) - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])


def check_finite(*arrays: Floats) -> None:
    """Raise a ValueError if a weight is infinite or no number."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a weight is not finite")


def _widened(array: Floats, multiple: int) -> Floats:
    return widened(array, multiple).astype(np.float32)


Packer = Callable[[Floats, Floats], LinearArrays]
PACKERS: Mapping[str, Packer] = {"int8": pack_int8, "int4": pack_int4, "float32": pack_float}

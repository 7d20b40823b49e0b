"""Writes a checkpoint's weights as the native engine reads them, a layer at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from archive.checkpoint import Weights
from archive.errors import PackagingError
from archive.progress import Progress, Say
from archive.schemes import Scheme
from handler.engine.model import ModelShape
from handler.engine.native.array_sizes import model_arrays
from handler.engine.native.arrays_file import write_arrays
from handler.engine.native.matrices import Array
from handler.engine.native.weights import pack_model


def write_scheme(
    weights: Weights,
    shape: ModelShape,
    scheme: Scheme,
    path: Path,
    say: Say,
    packed: Iterable[tuple[str, Array]] | None = None,
) -> None:
    """Write a model's arrays in a scheme; no more than one matrix and what it becomes is in memory.

    Args:
        weights: By GPT2LMHeadModel's names; smoothed ones if the scheme is.
        shape: The model's sizes.
        scheme: How they are quantized.
        path: The file.
        say: Reports progress.
        packed: The arrays, where something else makes them of the weights.

    Raises:
        PackagingError: A weight cannot be kept in this scheme.
    """
    if scheme.is_smoothed:
        shape = replace(shape, tied_head=False)
    kinds = model_arrays(shape, scheme.precisions)
    progress = Progress("converted", sum(kind.nbytes for kind in kinds.values()), say)

    def arrays() -> Iterator[tuple[str, Array]]:
        for name, array in packed or pack_model(weights, shape, scheme.precisions):
            yield name, array
            if packed is None:  # whoever packs them reports how far it is
                progress.advance(array.nbytes)

    try:
        write_arrays(path, kinds, arrays(), scheme.cache)
    except ValueError as error:
        raise PackagingError(str(error)) from None

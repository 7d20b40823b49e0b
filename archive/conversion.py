"""Writes a checkpoint's weights as the native engine reads them, a layer at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from archive.checkpoint import Weights
from archive.errors import PackagingError
from archive.forms import Form
from archive.progress import Progress, Say
from handler.engine.model import ModelShape
from handler.engine.native.array_sizes import model_arrays
from handler.engine.native.arrays_file import write_arrays
from handler.engine.native.matrices import Array
from handler.engine.native.weights import pack_model


def write_form(
    weights: Weights,
    shape: ModelShape,
    form: Form,
    path: Path,
    say: Say,
    packed: Iterable[tuple[str, Array]] | None = None,
) -> None:
    """Write the arrays of `form`; no more than one matrix and what it becomes is in memory.

    Args:
        weights: By GPT2LMHeadModel's names; smoothed ones where the form is.
        shape: The model's sizes.
        form: What is written.
        path: The file.
        say: Reports progress.
        packed: The arrays, where something else makes them of the weights.

    Raises:
        PackagingError: A weight cannot be kept in this form.
    """
    if form.is_smoothed:
        shape = replace(shape, tied_head=False)
    kinds = model_arrays(shape, form.precisions)
    progress = Progress("converted", sum(kind.nbytes for kind in kinds.values()), say)

    def arrays() -> Iterator[tuple[str, Array]]:
        for name, array in packed or pack_model(weights, shape, form.precisions):
            yield name, array
            if packed is None:  # what makes them tells how far it is
                progress.advance(array.nbytes)

    try:
        write_arrays(path, kinds, arrays(), form.cache)
    except ValueError as error:
        raise PackagingError(str(error)) from None

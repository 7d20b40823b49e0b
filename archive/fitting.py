"""Checks before work begins that the machine has enough memory."""

from __future__ import annotations

from math import prod

from archive.checkpoint import weight_shapes
from archive.errors import PackagingError
from archive.schemes import schemes_for
from handler.engine.container import available_memory
from handler.engine.model import ModelShape
from handler.engine.native.array_sizes import model_arrays

# Python with what it imports, a text's activations, keys and values of the trial.
PROCESS_BYTES = 300_000_000
# Of one tensor while it is converted: as stored, float32, turned, packed.
COPIES = 4
FLOAT_BYTES = 4


def check_memory(name: str, shape: ModelShape, engine: str, precision: str, cache: str) -> None:
    """Raise PackagingError if a model fits this machine's memory in none of the allowed schemes.

    Args:
        name: What messages call the model.
        shape: Its sizes.
        engine: "native" or "torch".
        precision: What `--precision` says.
        cache: What `--cache` says.
    """
    needed = memory_needed(shape, engine, precision, cache)
    available = available_memory()
    if needed > available:
        raise PackagingError(
            f"{name} does not fit into this machine's memory: about {needed / 1e6:,.0f} MB are "
            f"needed to pack and load it, {available / 1e6:,.0f} MB are there"
        )


def memory_needed(shape: ModelShape, engine: str, precision: str, cache: str) -> int:
    """Return the bytes that packing a model takes at least, its trial included."""
    weights = [prod(dimensions) for dimensions in weight_shapes(shape).values()]
    converting = COPIES * FLOAT_BYTES * max(weights)
    if engine == "torch":
        loaded = FLOAT_BYTES * sum(weights)
    else:
        loaded = min(
            sum(kind.nbytes for kind in model_arrays(shape, scheme.precisions).values())
            for scheme in schemes_for(precision, cache)
        )
    return PROCESS_BYTES + max(converting, loaded)

"""Chooses the library for this processor's instruction set."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CDLL
from pathlib import Path

from handler.engine.errors import ModelError

CPUINFO = Path("/proc/cpuinfo")
_AVX2 = frozenset({"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe"})
# Fastest first; what Linux calls the features that each needs.
NEEDS: dict[str, frozenset[str]] = {
    "avx512-vnni": _AVX2
    | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"},
    "avx-vnni": _AVX2 | {"avx_vnni"},
    "avx2": _AVX2,
    "neon-i8mm": frozenset({"asimddp", "i8mm"}),
    "neon-dotprod": frozenset({"asimddp"}),
}
# Builds that few machines can run have to give a known answer first; the second gives it.
CHECKED_AGAINST = {"avx-vnni": "avx2"}


def runnable(cpuinfo: str) -> list[str]:
    """The instruction sets that a processor has, fastest first.

    Args:
        cpuinfo: The text of /proc/cpuinfo.
    """
    features: set[str] = set()
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            features = set(value.split())
            break
    return [isa for isa, needed in NEEDS.items() if needed <= features]


def choose(
    load: Callable[[str], CDLL], agree: Callable[[CDLL, CDLL], bool], forced: str = ""
) -> CDLL:
    """Load the fastest library that this processor can run.

    Args:
        load: Loads the library of an instruction set.
        agree: Whether two libraries give the same bits.
        forced: An instruction set to take, whichever is fastest.

    Raises:
        ModelError: There is none, or the processor cannot run the forced one.
    """
    if not CPUINFO.exists():
        raise ModelError(
            "the native engine runs only on Linux; use the container image, or pack the model "
            "with `package_model --engine torch`"
        )
    can = runnable(CPUINFO.read_text(encoding="utf-8"))
    if not can:
        raise ModelError(
            "the native engine needs AVX2 and FMA, or ARM's dot products, and this processor has "
            "neither; pack the model with `package_model --engine torch`"
        )
    if forced and forced not in can:
        raise ModelError(f"ENGINE_ISA must be one of {', '.join(can)} here, not {forced!r}")
    for isa in [forced] if forced else can:
        library = load(isa)
        reference = CHECKED_AGAINST.get(isa)
        if forced or reference is None or agree(library, load(reference)):
            return library
    raise ModelError("no build of the native engine computes the known answer on this processor")

"""The quality gate: tries quantization schemes, fastest first, and takes the first good one."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from archive.checkpoint import Weights
from archive.compensation import Rounder, pack_compensated
from archive.conversion import write_scheme
from archive.layers import FileSource, FloatSource, Layerwise
from archive.native_build import build_libraries
from archive.progress import Progress, Say
from archive.quality import Comparison, Quality, not_finite
from archive.schemes import FULL, Scheme, schemes_for
from archive.smoothing import SmoothedWeights, smooth
from archive.text import Passages
from handler.engine.container import available_cpus
from handler.engine.model import ModelShape
from handler.engine.native.arrays_file import ARRAYS
from handler.engine.native.matrices import Floats
from handler.engine.native_model import choose_library

# Of the text for calibration, what weights of four bits are rounded by.
COMPENSATION_WINDOWS = 16

COLUMNS = "  {:<34} {:<8} {:>10} {:>9} {:>9}  {}"


@dataclass(frozen=True)
class Choice:
    """The scheme that went into the archive, why, and everything that was measured for it."""

    scheme: Scheme
    reason: str
    tried: Mapping[Scheme, Quality] = field(default_factory=dict)
    text: str = ""

    def figures(self) -> dict[str, Any] | None:
        """Return what archive.json says about quality; None if nothing was measured."""
        if not self.tried:
            return None
        scheme, first = next(iter(self.tried.items()))
        bounds = scheme.bounds
        as_reference = Quality(first.reference_loss, first.reference_loss, 0.0, first.tokens)
        return {
            "text": self.text,
            "tokens": first.tokens,
            "perplexity_fp32": _rounded(first.reference_perplexity, 3),
            **_figures(self.tried.get(self.scheme, as_reference)),
            "bounds": {"perplexity_growth": bounds.growth, "kl": bounds.kl},
            "reason": self.reason,
            "tried": [
                {
                    "form": scheme.name,
                    "cache": scheme.cache,
                    **_figures(quality),
                    "passes": quality.passes(scheme.bounds),
                }
                for scheme, quality in self.tried.items()
            ],
        }


def _figures(quality: Quality) -> dict[str, float | None]:
    return {
        "perplexity": _rounded(quality.perplexity, 3),
        "perplexity_growth": _rounded(quality.growth, 5),
        "kl": _rounded(quality.kl, 5),
    }


def _rounded(value: float, digits: int) -> float | None:
    return None if not_finite(value) else round(value, digits)


def write_model(
    weights: Weights,
    shape: ModelShape,
    model: Path,
    *,
    precision: str,
    cache: str,
    passages: Passages | None,
    say: Say,
) -> Choice:
    """Write a model's arrays in the scheme that `precision` and `cache` ask for.

    Args:
        weights: By GPT2LMHeadModel's names.
        shape: The model's sizes.
        model: The archive's model directory.
        precision: "auto" lets measurement decide; "int4", "int8", or "fp32".
        cache: "auto", "int8" or "float32".
        passages: What to measure on; None measures nothing, and takes the first scheme.
        say: Reports progress.

    Raises:
        PackagingError: A weight is not finite, or the compiler cannot be had.
    """
    schemes = schemes_for(precision, cache)
    if schemes == [FULL] or passages is None:
        write_scheme(weights, shape, schemes[0], model / ARRAYS, say)
        return Choice(schemes[0], "asked for")
    gate = Gate(weights, shape, passages, choose_library(build_libraries(say)), say)
    return gate.write_first_good(schemes, model / ARRAYS)


class Gate:
    """One checkpoint under measurement."""

    def __init__(
        self,
        weights: Weights,
        shape: ModelShape,
        passages: Passages,
        library: ctypes.CDLL,
        say: Say,
    ) -> None:
        self._weights, self._shape, self._passages = weights, shape, passages
        self._library, self._say = library, say
        self._threads = available_cpus()
        self._source = FloatSource(weights, shape)
        self._tried: dict[Scheme, Quality] = {}

    def write_first_good(self, schemes: list[Scheme], path: Path) -> Choice:
        """Write the model in one scheme after another, until one is good enough or none is left."""
        for scheme in schemes:
            self._write(scheme, path)
            if scheme == FULL:
                break
            quality = self._measure(scheme, path)
            if quality.passes(scheme.bounds):
                break
        return Choice(scheme, self._reason(scheme, schemes), self._tried, self._passages.name)

    def _reason(self, scheme: Scheme, schemes: list[Scheme]) -> str:
        if scheme == FULL:
            closest, quality = min(self._tried.items(), key=lambda tried: tried[1].kl)
            return f"no other scheme is good enough: {quality.fault(closest.bounds)}"
        if fault := self._tried[scheme].fault(scheme.bounds):
            return f"asked for, though {fault}"
        if len(self._tried) == 1:
            return "the fastest scheme is good enough"
        first, quality = next(iter(self._tried.items()))
        return f"faster schemes are not good enough ({first.name}: {quality.fault(first.bounds)})"

    def _write(self, scheme: Scheme, path: Path) -> None:
        """Write the model in a scheme; weights of four bits are rounded by other tokens' inputs."""
        weights = self._smoothed if scheme.is_smoothed else self._weights
        if scheme.weights != "int4":
            write_scheme(weights, self._shape, scheme, path, self._say)
            return
        shape = replace(self._shape, tied_head=False) if scheme.is_smoothed else self._shape
        windows = self._passages.calibration[:COMPENSATION_WINDOWS]
        source = FloatSource(weights, shape)
        arrays = pack_compensated(
            source,
            Layerwise(source, self._library, self._threads),
            windows,
            scheme.precisions,
            Rounder(self._library, self._threads),
            self._progress(f"rounded {scheme.name}", 1),
        )
        self._say(f"rounding {scheme.name} by {sum(map(len, windows)):,} other tokens")
        write_scheme(weights, shape, scheme, path, self._say, arrays)

    def _measure(self, scheme: Scheme, path: Path) -> Quality:
        """Compare what was written with the checkpoint itself, and say the result."""
        windows = self._passages.evaluation
        if not self._tried:
            count = sum(map(len, windows))
            self._say(f"measuring on {count:,} tokens of {self._passages.name}")
        expected = self._reference
        if not self._tried:
            self._say(COLUMNS.format("precision", "cache", "perplexity", "growth", "KL", ""))
        model = Layerwise(FileSource(path, self._shape, scheme.cache), self._library, self._threads)
        found = model.hidden(windows, self._progress(f"measured {scheme.name}"))
        reference = Layerwise(self._source, self._library, self._threads)
        quality = Comparison(self._library, self._threads).compare(
            windows,
            (reference.head(), expected),
            (model.head(), found),
            Progress("compared", len(windows), self._say),
        )
        if not self._tried:
            perplexity = f"{quality.reference_perplexity:.2f}"
            self._say(COLUMNS.format(FULL.name, FULL.cache, perplexity, "", "", "").rstrip())
        self._tried[scheme] = quality
        self._say(_line(scheme, quality))
        return quality

    @cached_property
    def _reference(self) -> list[Floats]:
        """What fp32's last layer gives for each window."""
        model = Layerwise(self._source, self._library, self._threads)
        return model.hidden(self._passages.evaluation, self._progress("computed fp32"))

    @cached_property
    def _smoothed(self) -> SmoothedWeights:
        windows = self._passages.calibration
        self._say(f"outliers: watching {sum(map(len, windows)):,} other tokens")
        model = Layerwise(self._source, self._library, self._threads)
        return smooth(self._source, model, windows, self._progress("watched", 2))

    def _progress(self, what: str, more: int = 0) -> Progress:
        return Progress(what, self._shape.layers + more, self._say)


def _line(scheme: Scheme, quality: Quality) -> str:
    verdict = quality.fault(scheme.bounds) or "good"
    growth, kl = f"{quality.growth:+.2%}", f"{quality.kl:.5f}"
    return COLUMNS.format(
        scheme.name, scheme.cache, f"{quality.perplexity:.2f}", growth, kl, verdict
    )

"""Measures the quality of a quantization scheme: perplexity and KL divergence against fp32.

A row's figures come from the native kernels and are added up exactly, so that the verdict is the
same on every machine.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from archive.layers import Head, split
from archive.progress import Progress
from archive.text import Tokens
from handler.engine.native.matrices import Floats


@dataclass(frozen=True)
class Bounds:
    """What a scheme may cost: less than each of these.

    Attributes:
        growth: Of perplexity, as a share.
        loss: Its logarithm.
        kl: Mean KL divergence, in nats a token.

    A perplexity that grows by 1 % is ln 1.01, about 0.01 nats a token, on the words of the text
    alone: losses on some of them hide gains on others. KL cannot be evened out like that, so it
    gets the same number of nats; by Pinsker's inequality the probabilities then move by
    sqrt(KL / 2) at most, 7 % for 0.01.
    """

    growth: float
    loss: float
    kl: float


USUAL_BOUNDS = Bounds(0.01, 0.00995033085316808, 0.01)
# Who asks for four bits buys memory and speed with quality: it may cost twice as much, and
# probabilities may move by 10 %. Were each weight rounded by itself, the embedded model would not
# pass.
INT4_BOUNDS = Bounds(0.02, 0.01980262729617973, 0.02)


@dataclass(frozen=True)
class Quality:
    """Means over `tokens` predicted tokens, in nats: of -log p, of fp32's, and of KL."""

    loss: float
    reference_loss: float
    kl: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """Of what was measured."""
        return exp(self.loss)

    @property
    def reference_perplexity(self) -> float:
        """Of fp32."""
        return exp(self.reference_loss)

    @property
    def growth(self) -> float:
        """By what share perplexity is above the reference's."""
        return exp(self.loss - self.reference_loss) - 1

    def passes(self, bounds: Bounds) -> bool:
        """Whether both bounds are kept; figures that are not finite keep none."""
        return not self.fault(bounds)

    def fault(self, bounds: Bounds) -> str:
        """Which bounds are broken, in words; empty if none."""
        faults = []
        if not self.loss - self.reference_loss < bounds.loss:
            faults.append(f"perplexity {self.growth:+.2%}, {bounds.growth:.0%} allowed")
        if not self.kl < bounds.kl:
            faults.append(f"KL {self.kl:.4f}, {bounds.kl} allowed")
        return "; ".join(faults)


def exp(value: float) -> float:
    """E to the power of `value`, correctly rounded: libm's last bit depends on the processor."""
    if not math.isfinite(value) or value > 700:
        return math.nan if math.isnan(value) else math.inf
    return float(Decimal(value).exp())


class Comparison:
    """Compares what two models predict, row by row, on several threads."""

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        pointer = ctypes.c_void_p
        library.gpt2_mean_difference.restype = ctypes.c_double
        library.gpt2_mean_difference.argtypes = [pointer, pointer, ctypes.c_int32]
        self._library = library
        self._pool = ThreadPoolExecutor(threads)

    def compare(
        self,
        windows: Sequence[Tokens],
        reference: tuple[Head, Sequence[Floats]],
        candidate: tuple[Head, Sequence[Floats]],
        progress: Progress,
    ) -> Quality:
        """Compare predictions of every token but the first of each window.

        Args:
            windows: The text.
            reference: fp32's head, and what its last layer gave for each window.
            candidate: The same in another scheme.
            progress: Is advanced with each window.
        """
        figures: list[tuple[float, float, float]] = []
        for window, expected, found in zip(windows, reference[1], candidate[1], strict=True):
            following = window[1:]
            chunks = zip(split(expected[:-1]), split(found[:-1]), split(following), strict=True)
            for expected_rows, found_rows, tokens in chunks:
                logits = reference[0].logits(expected_rows), candidate[0].logits(found_rows)
                figures += self._pool.map(self._row, *logits, tokens.tolist())
            progress.advance(1)
        count = len(figures)
        losses, reference_losses, divergences = zip(*figures, strict=True)
        return Quality(
            loss=math.fsum(losses) / count,
            reference_loss=math.fsum(reference_losses) / count,
            kl=math.fsum(divergences) / count,
            tokens=count,
        )

    def _row(self, expected: Floats, found: Floats, token: int) -> tuple[float, float, float]:
        """Losses of both, and the KL divergence of `found` from `expected`."""
        size = len(expected)
        of_both = [
            self._library.gpt2_log_probability(row.ctypes.data, size, token, 0, None, None)
            for row in (expected, found)
        ]
        difference = self._library.gpt2_mean_difference(
            expected.ctypes.data, found.ctypes.data, size
        )
        # log p(i) - log q(i) = x(i) - y(i) - (logarithms of the two sums of exponentials).
        at_token = float(expected[token]) - float(found[token])
        sums = at_token - (of_both[0] - of_both[1])
        return -of_both[1], -of_both[0], difference - sums


def not_finite(value: float) -> bool:
    """Whether a figure is none that JSON could hold."""
    return not np.isfinite(value)

"""What a form of the model costs in quality: perplexity and KL divergence against fp32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from archive.progress import told
from archive.text import Tokens

# Perplexity may grow by less than this share.
GROWTH_BOUND = 0.01
# Mean KL divergence in nats a token. A perplexity that grows by 1 % is ln 1.01, about 0.01 nats a
# token, on the words of the text alone: losses on some of them hide gains on others. KL cannot be
# evened out like that, so it gets the same 0.01 nats; by Pinsker's inequality the probabilities
# then move by 7 % at most (sqrt(KL / 2)).
KL_BOUND = 0.01


@dataclass(frozen=True)
class Quality:
    """Means over `tokens` predicted tokens."""

    perplexity: float
    reference_perplexity: float
    kl: float
    tokens: int

    @property
    def growth(self) -> float:
        """By what share perplexity is above the reference's."""
        return self.perplexity / self.reference_perplexity - 1

    def of_reference(self) -> Quality:
        """Return what the reference scores against itself."""
        return Quality(self.reference_perplexity, self.reference_perplexity, 0.0, self.tokens)

    @property
    def passes(self) -> bool:
        """Whether both bounds are kept; figures that are not finite keep none."""
        return self.growth < GROWTH_BOUND and self.kl < KL_BOUND

    @property
    def fault(self) -> str:
        """Which bounds are broken, in words; empty if none."""
        faults = []
        if not self.growth < GROWTH_BOUND:
            faults.append(f"perplexity {self.growth:+.2%}, {GROWTH_BOUND:.0%} allowed")
        if not self.kl < KL_BOUND:
            faults.append(f"KL {self.kl:.4f}, {KL_BOUND} allowed")
        return "; ".join(faults)


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class Runner(Protocol):
    """A model that computes whole windows."""

    def run(self, tokens: Tokens, logit_rows: Tokens, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Run one window [length] from its start; logits come for `logit_rows`."""
        ...


def compare(reference: Runner, candidate: Runner, windows: Sequence[Tokens]) -> Quality:
    """Run both over `windows` and compare what they predict."""
    loss = reference_loss = divergence = 0.0
    tokens = 0
    for window in told(windows, "measured"):
        rows, following = np.arange(len(window) - 1), window[1:]
        expected = log_probabilities(reference.run(window, rows, ["logits"])[0])
        found = log_probabilities(candidate.run(window, rows, ["logits"])[0])
        reference_loss -= float(expected[rows, following].sum(dtype=np.float64))
        loss -= float(found[rows, following].sum(dtype=np.float64))
        divergence += float((np.exp(expected) * (expected - found)).sum(dtype=np.float64))
        tokens += len(rows)
    return Quality(
        perplexity=float(np.exp(loss / tokens)),
        reference_perplexity=float(np.exp(reference_loss / tokens)),
        kl=divergence / tokens,
        tokens=tokens,
    )

"""The quantization schemes that a model may have in an archive, fastest first."""

from __future__ import annotations

from dataclasses import dataclass

from archive.quality import INT4_BOUNDS, USUAL_BOUNDS, Bounds
from handler.engine.native.weights import uniform

# What weights may be kept as, by what `--precision` says (archive/options.py).
WEIGHTS = {
    "auto": ("int8", "float32"),
    "int4": ("int4",),
    "int8": ("int8",),
    "fp32": ("float32",),
}
# What people call a precision, where that is another word.
WORDS = {"float32": "fp32"}


@dataclass(frozen=True)
class Scheme:
    """A quantization scheme: what a model's matrices and its cache are kept as.

    Attributes:
        weights: "int4", "int8" or "float32".
        cache: "int8" or "float32", of keys and values.
        is_smoothed: Outliers of what matrices are fed with are moved into the weights.
        others: Matrices that are kept as something else, and as what.
    """

    weights: str
    cache: str
    is_smoothed: bool = False
    others: tuple[tuple[str, str], ...] = ()

    @property
    def precision(self) -> str:
        """What `--precision` calls it."""
        return WORDS.get(self.weights, self.weights)

    @property
    def name(self) -> str:
        """What people read."""
        words = [self.precision, *(["smoothed"] if self.is_smoothed else [])]
        return " ".join(words) + "".join(f", {n} {WORDS.get(p, p)}" for n, p in self.others)

    @property
    def precisions(self) -> dict[str, str]:
        """What each matrix is kept as."""
        return uniform(self.weights) | dict(self.others)

    @property
    def bounds(self) -> Bounds:
        """What it may cost in quality."""
        return INT4_BOUNDS if self.weights == "int4" else USUAL_BOUNDS


# Outliers of LayerNorm can be moved into weights; what follows GELU cannot.
_CONTRACT = (("contract", "float32"),)
# Each logit is one column of the head: an error there is not evened out by what comes after it.
_HEAD = (("head", "int8"),)
SCHEMES = (
    Scheme("int4", "int8"),
    Scheme("int4", "int8", others=_HEAD),
    Scheme("int4", "int8", is_smoothed=True, others=_HEAD),
    Scheme("int4", "int8", is_smoothed=True, others=(*_CONTRACT, *_HEAD)),
    Scheme("int4", "float32", others=_HEAD),
    Scheme("int4", "float32", is_smoothed=True, others=(*_CONTRACT, *_HEAD)),
    Scheme("int8", "int8"),
    Scheme("int8", "int8", is_smoothed=True),
    Scheme("int8", "int8", is_smoothed=True, others=_CONTRACT),
    Scheme("int8", "float32"),
    Scheme("int8", "float32", is_smoothed=True, others=_CONTRACT),
    Scheme("float32", "int8"),
    Scheme("float32", "float32"),
)
FULL = SCHEMES[-1]


def schemes_for(precision: str, cache: str) -> list[Scheme]:
    """Return the schemes that the settings allow; with "auto" fp32 keeps a cache of floats."""
    return [
        scheme
        for scheme in SCHEMES
        if scheme.weights in WEIGHTS[precision]
        and (scheme.cache == cache or (cache == "auto" and scheme.cache in _usual_caches(scheme)))
    ]


def _usual_caches(scheme: Scheme) -> tuple[str, ...]:
    return ("float32",) if scheme.weights == "float32" else ("int8", "float32")

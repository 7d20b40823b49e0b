"""The forms that a model's matrices and its cache may have in an archive, fastest first."""

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
class Form:
    """What a model's matrices and its cache are kept as.

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
FORMS = (
    Form("int4", "int8"),
    Form("int4", "int8", others=_HEAD),
    Form("int4", "int8", is_smoothed=True, others=_HEAD),
    Form("int4", "int8", is_smoothed=True, others=(*_CONTRACT, *_HEAD)),
    Form("int4", "float32", others=_HEAD),
    Form("int4", "float32", is_smoothed=True, others=(*_CONTRACT, *_HEAD)),
    Form("int8", "int8"),
    Form("int8", "int8", is_smoothed=True),
    Form("int8", "int8", is_smoothed=True, others=_CONTRACT),
    Form("int8", "float32"),
    Form("int8", "float32", is_smoothed=True, others=_CONTRACT),
    Form("float32", "int8"),
    Form("float32", "float32"),
)
FULL = FORMS[-1]


def forms_for(precision: str, cache: str) -> list[Form]:
    """Return the forms that a person lets be tried; with "auto" fp32 keeps a cache of floats."""
    return [
        form
        for form in FORMS
        if form.weights in WEIGHTS[precision]
        and (form.cache == cache or (cache == "auto" and form.cache in _usual_caches(form)))
    ]


def _usual_caches(form: Form) -> tuple[str, ...]:
    return ("float32",) if form.weights == "float32" else ("int8", "float32")

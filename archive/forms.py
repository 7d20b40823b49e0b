"""The forms that a model's matrices and its cache may have in an archive, fastest first."""

from __future__ import annotations

from dataclasses import dataclass

from handler.engine.native.weights import uniform

# What weights may be kept as, by what `--precision` says (archive/options.py).
WEIGHTS = {"auto": ("int8", "float32"), "int8": ("int8",), "fp32": ("float32",)}


@dataclass(frozen=True)
class Form:
    """What a model's matrices and its cache are kept as.

    Attributes:
        weights: "int8" or "float32".
        cache: The same, of keys and values.
        is_smoothed: Outliers of what matrices are fed with are moved into the weights.
        floats: Matrices that are float32 all the same.
    """

    weights: str
    cache: str
    is_smoothed: bool = False
    floats: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """What `--precision` calls it."""
        return "fp32" if self.weights == "float32" else "int8"

    @property
    def name(self) -> str:
        """What people read."""
        words = [self.precision, *(["smoothed"] if self.is_smoothed else [])]
        return " ".join(words) + "".join(f", {name} fp32" for name in self.floats)

    @property
    def precisions(self) -> dict[str, str]:
        """What each matrix is kept as."""
        return uniform(self.weights) | dict.fromkeys(self.floats, "float32")


# Outliers of LayerNorm can be moved into weights; what follows GELU cannot.
FORMS = (
    Form("int8", "int8"),
    Form("int8", "int8", is_smoothed=True),
    Form("int8", "int8", is_smoothed=True, floats=("contract",)),
    Form("int8", "float32"),
    Form("int8", "float32", is_smoothed=True, floats=("contract",)),
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

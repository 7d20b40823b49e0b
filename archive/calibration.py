"""Finds the ranges of all products' inputs on text, smooths the weights, and plans the forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archive.checkpoint import ModelShape, Weights
from archive.graph import build_calibration_graph
from archive.levels import cache_steps, count_in_levels
from archive.plan import HEAD, Plan, product_names, uniform_plan
from archive.products import Form, Range
from archive.progress import told
from archive.session import Tokens, WindowRunner
from archive.smoothing import Channels, smooth, smoothing_factors

# Text that is served goes somewhat beyond the text that was seen.
HEADROOM = 1.05
# A static step this many times coarser than a typical row needs wastes two bits or more.
COARSE = 4.0
# Logits of one row: the graph computes no fewer.
NO_LOGITS = np.zeros(1, np.int64)


@dataclass(frozen=True)
class ProductInput:
    """What was seen of one product's input."""

    low: Channels
    high: Channels
    typical: float

    @property
    def largest(self) -> Channels:
        """Largest magnitude of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def span(self) -> Range:
        """Range over all channels, with headroom."""
        return Range(
            low=min(float(self.low.min()) * HEADROOM, 0.0),
            high=max(float(self.high.max()) * HEADROOM, 0.0),
        )

    def divided(self, factor: Channels | np.float32) -> ProductInput:
        """Return the same input after its channels are divided by `factor`."""
        return ProductInput(self.low / factor, self.high / factor, self.typical)


@dataclass(frozen=True)
class Calibration:
    """Weights ready to be quantised, and what is known of every product's input."""

    weights: Weights
    original: Weights
    inputs: Mapping[str, ProductInput]

    @property
    def ranges(self) -> dict[str, Range]:
        """Range of every product's input."""
        return {name: seen.span() for name, seen in self.inputs.items()}

    def weights_for(self, plan: Plan) -> Weights:
        """Return the calm weights; a float head stays as it was, and so tied to its table."""
        if plan.forms[HEAD] is not Form.FP32:
            return self.weights
        head = ("ln_f.weight", "ln_f.bias", "lm_head.weight")
        kept = {name: weight for name, weight in self.weights.items() if name not in head}
        return kept | {name: self.original[name] for name in head if name in self.original}


def watch_inputs(
    shape: ModelShape, weights: Weights, windows: Sequence[Tokens]
) -> dict[str, ProductInput]:
    """Run `windows` through the float graph; gather what its products and caches are fed with.

    Queries, keys and values of a layer stand under `h.{layer}.attn.packed`.
    """
    graph = build_calibration_graph(shape, weights, uniform_plan(shape, Form.FP32, {}))
    runner = WindowRunner(graph.SerializeToString(), shape, max(map(len, windows)))
    del graph
    products = product_names(shape)
    names = [*products, *(f"h.{layer}.attn.packed" for layer in range(shape.n_layer))]
    outputs = [f"{name}.{kind}" for kind in ("low", "high") for name in names]
    outputs += [f"{name}.typical" for name in products]
    seen: dict[str, ProductInput] = {}
    for window in told(windows, "calibrated"):
        values = dict(zip(outputs, runner.run(window, NO_LOGITS, outputs), strict=True))
        for name in names:
            low, high = values[f"{name}.low"], values[f"{name}.high"]
            before = seen.get(name, ProductInput(low, high, 0.0))
            seen[name] = ProductInput(
                np.minimum(before.low, low),
                np.maximum(before.high, high),
                before.typical + float(values.get(f"{name}.typical", 0.0)) / len(windows),
            )
    return seen


def calibrate(shape: ModelShape, weights: Weights, windows: Sequence[Tokens]) -> Calibration:
    """Watch the float model on `windows`, smooth its weights, and fit its cache to bytes."""
    seen = watch_inputs(shape, weights, windows)
    factors = smoothing_factors(
        shape, weights, {name: product.largest for name, product in seen.items()}
    )
    inputs = {
        name: seen[name].divided(factors[name]) if name in factors else seen[name]
        for name in product_names(shape)
    }
    with_headroom = {name: product.largest * HEADROOM for name, product in seen.items()}
    steps = cache_steps(shape, with_headroom, factors)
    for layer, step in enumerate(steps):
        name = f"h.{layer}.attn.c_proj"
        inputs[name] = inputs[name].divided(step.values)
    calm = count_in_levels(shape, smooth(shape, weights, factors), steps)
    return Calibration(calm, weights, inputs)


def candidate_plans(shape: ModelShape, calibration: Calibration) -> list[Plan]:
    """Return the plans worth measuring, fastest first."""
    ranges = calibration.ranges
    static = uniform_plan(shape, Form.STATIC_7BIT, ranges)
    mixed = Plan(
        {
            name: Form.ROWS_7BIT if _is_coarse(name, calibration) else form
            for name, form in static.forms.items()
        },
        ranges,
    )
    rows = [uniform_plan(shape, form, ranges) for form in (Form.ROWS_7BIT, Form.ROWS_8BIT)]
    plans = [static, *([mixed] if mixed.forms != static.forms else []), *rows]
    return plans


def _is_coarse(name: str, calibration: Calibration) -> bool:
    """Tell whether a few rows stretch the static range of what cannot be smoothed."""
    seen = calibration.inputs[name]
    return name.endswith("mlp.c_proj") and float(seen.largest.max()) > COARSE * seen.typical

"""The quality gate: tries forms of the model, fastest first, and takes the first that is good."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archive.calibration import Calibration, calibrate, candidate_plans
from archive.checkpoint import Checkpoint, Weights
from archive.errors import PackagingError
from archive.files import save_graph
from archive.graph import build_graph
from archive.packing import telling_full_disk
from archive.plan import Plan, uniform_plan
from archive.products import Form
from archive.quality import GROWTH_BOUND, KL_BOUND, Quality, compare
from archive.session import WindowRunner
from archive.text import Passages, read_passages

FORMS = {
    "static-7bit": Form.STATIC_7BIT,
    "rows-7bit": Form.ROWS_7BIT,
    "rows-8bit": Form.ROWS_8BIT,
    "fp32": Form.FP32,
}
COLUMNS = "  {:<38} {:<8} {:>10} {:>9} {:>9}  {}"


@dataclass(frozen=True)
class Trial:
    """One form of the model and what it costs."""

    plan: Plan
    quality: Quality


@dataclass(frozen=True)
class Choice:
    """The form that goes into the archive, why, and everything that was measured for it."""

    plan: Plan
    weights: Weights
    reason: str
    trials: Sequence[Trial] = ()
    text: str = ""

    def figures(self) -> dict[str, Any] | None:
        """Return what archive.json says about quality; None if nothing was measured."""
        if not self.trials:
            return None
        measured = {trial.plan: trial.quality for trial in self.trials}
        reference = self.trials[0].quality
        taken = measured.get(self.plan, reference.of_reference())
        return {
            "text": self.text,
            "tokens": taken.tokens,
            "perplexity_fp32": round(reference.reference_perplexity, 3),
            **_figures(taken),
            "bounds": {"perplexity_growth": GROWTH_BOUND, "kl": KL_BOUND},
            "reason": self.reason,
            "tried": [_row(trial) for trial in self.trials],
        }


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "precision": trial.plan.precision,
        "cache": trial.plan.cache,
        **_figures(trial.quality),
        "passes": trial.quality.passes,
    }


def _figures(quality: Quality) -> dict[str, float]:
    return {
        "perplexity": round(quality.perplexity, 3),
        "perplexity_growth": round(quality.growth, 5),
        "kl": round(quality.kl, 5),
    }


class _Gate:
    """One checkpoint under measurement."""

    def __init__(
        self, checkpoint: Checkpoint, passages: Passages, say: Callable[[str], None]
    ) -> None:
        self.checkpoint = checkpoint
        self.passages = passages
        self.say = say
        self.trials: list[Trial] = []
        self.float_plan = uniform_plan(checkpoint.shape, Form.FP32, {})

    def calibrate(self) -> Calibration:
        windows = self.passages.calibration
        tokens = sum(map(len, windows))
        self.say(f"calibrating on {tokens:,} tokens of {self.passages.name}")
        return calibrate(self.checkpoint.shape, self.checkpoint.weights, windows)

    def measure(self, plan: Plan, calibration: Calibration) -> Trial:
        """Compare `plan` with the float model and say the result."""
        if not self.trials:
            tokens = sum(map(len, self.passages.evaluation))
            self.say(f"measuring on {tokens:,} other tokens")
            self.say(COLUMNS.format("precision", "cache", "perplexity", "growth", "KL", ""))
        checkpoint = self.checkpoint
        with (
            self.runner(self.float_plan, checkpoint.weights) as reference,
            self.runner(plan, calibration.weights_for(plan)) as candidate,
        ):
            quality = compare(reference, candidate, self.passages.evaluation)
        if not self.trials:
            self.say(_line(self.float_plan, quality.reference_perplexity, "", "", ""))
        trial = Trial(plan, quality)
        verdict = "good" if quality.passes else quality.fault
        growth, kl = f"{quality.growth:+.2%}", f"{quality.kl:.5f}"
        self.say(_line(plan, quality.perplexity, growth, kl, verdict))
        self.trials.append(trial)
        return trial

    @contextmanager
    def runner(self, plan: Plan, weights: Weights) -> Iterator[WindowRunner]:
        """Load `plan`'s graph from a file: beyond 2 GB there is no other way."""
        shape = self.checkpoint.shape
        with ExitStack() as stack:
            with telling_full_disk(Path(tempfile.gettempdir())):
                made = tempfile.TemporaryDirectory(prefix="gpt2-gate-")
                directory = Path(stack.enter_context(made))
                path = save_graph(build_graph(shape, weights, plan), directory)
            yield WindowRunner(str(path), shape, max(map(len, self.passages.evaluation)))


def _line(plan: Plan, perplexity: float, growth: str, kl: str, verdict: str) -> str:
    figures = (f"{perplexity:.2f}", growth, kl, verdict)
    return COLUMNS.format(plan.precision, plan.cache, *figures).rstrip()


def choose(
    checkpoint: Checkpoint,
    precision: str,
    cache: str,
    text: Path | None,
    say: Callable[[str], None],
) -> Choice:
    """Return the form that `precision` and `cache` ask for; "auto" lets measurement decide."""
    if precision == "int8":
        raise PackagingError(
            f"--precision int8 is for --engine native; onnx has {', '.join(FORMS)}"
        )
    float_plan = uniform_plan(checkpoint.shape, Form.FP32, {})
    if precision == "fp32" and cache != "int8":
        return Choice(float_plan, checkpoint.weights, "asked for")
    gate = _Gate(checkpoint, read_passages(checkpoint, text), say)
    calibration = gate.calibrate()
    if precision == "auto":
        plan, reason = _first_good(gate, calibration, cache)
    else:
        form = FORMS[precision]
        plan = uniform_plan(checkpoint.shape, form, calibration.ranges)
        plan = replace(plan, bytes_in_cache=cache != "float32")
        fault = gate.measure(plan, calibration).quality.fault
        reason = f"asked for, though {fault}" if fault else "asked for"
    floating = plan is gate.float_plan
    weights = checkpoint.weights if floating else calibration.weights_for(plan)
    return Choice(plan, weights, reason, tuple(gate.trials), gate.passages.name)


def _first_good(gate: _Gate, calibration: Calibration, cache: str) -> tuple[Plan, str]:
    """Try every form with the wanted cache; with a float one if bytes in the cache are at fault.

    Products decide the speed, so an integer form with a float cache comes before fp32 with bytes.
    """
    forms = candidate_plans(gate.checkpoint.shape, calibration)
    with_bytes = [replace(plan, bytes_in_cache=True) for plan in [*forms, gate.float_plan]]
    plans = [
        *(with_bytes[:-1] if cache != "float32" else []),
        *(forms if cache != "int8" else []),
        *(with_bytes[-1:] if cache != "float32" else []),
    ]
    for plan in plans:
        if gate.measure(plan, calibration).quality.passes:
            return plan, _why(plan, gate)
    closest = min(gate.trials, key=lambda trial: trial.quality.kl)
    return gate.float_plan, f"no integer form is good enough: {closest.quality.fault}"


def _why(plan: Plan, gate: _Gate) -> str:
    if len(gate.trials) == 1:
        return "the fastest form is good enough"
    first = gate.trials[0]
    return f"faster forms are not good enough ({first.plan.precision}: {first.quality.fault})"

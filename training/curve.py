"""The loss curve of a run as a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def draw(log: Sequence[dict[str, Any]], tokens_at: Callable[[int], int], file: Path) -> None:
    """Training and held-out loss in nats per token, over the tokens seen."""
    # Takes a while to import, and a run's start and its refusals need none of it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in (("loss", "training"), ("eval_loss", "held out")):
        points = [(tokens_at(int(e["step"])) / 1e6, float(e[key])) for e in log if key in e]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.2)
    axes.set_xlabel("million tokens seen")
    axes.set_ylabel("nats per token")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=120)

"""The pictures of docs/scale.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = (
    *("#c2410c", "#1d4ed8", "#0f766e", "#6b7280", "#a21caf", "#ca8a04"),
    *("#f472b6", "#111827"),
)
DOTS = 90  # an inch: small files


def draw(folder: Path, found: Mapping[str, Any]) -> None:
    """Write fleet-steady.png and fleet-burst.png."""
    import matplotlib

    matplotlib.use("Agg")
    rows = found["rows"]
    _steady(folder / "fleet-steady.png", [row for row in rows if row["section"] == "steady"])
    _burst(folder / "fleet-burst.png", [row for row in rows if row["section"] == "burst"])


def _steady(path: Path, rows: list[Any]) -> None:
    """First tokens and hits by fleet and routing."""
    from matplotlib import pyplot

    if not rows:
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for number, routing in enumerate(("chance", "least", "prefix")):
        own = [row for row in rows if row["routing"] == routing]
        sizes = [row["instances"] for row in own]
        label = {"chance": "any", "least": "the least loaded", "prefix": "by prefix"}[routing]
        colour = COLOURS[number]
        axes[0].plot(
            sizes, [1000 * row["ttft_p99"] for row in own], "o-", color=colour, label=label
        )
        axes[0].plot(sizes, [1000 * row["ttft_p50"] for row in own], "o:", color=colour)
        axes[1].plot(sizes, [row["prefix_hits"] for row in own], "o-", color=colour, label=label)
    for axis, title in zip(
        axes, ("first token, ms: p99, dotted p50", "share of prompts known"), strict=True
    ):
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("instances")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=DOTS)
    pyplot.close(figure)


def _burst(path: Path, rows: list[Any]) -> None:
    """Instances that are ready, and requests inside, as time goes by."""
    from matplotlib import pyplot

    if not rows:
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for number, row in enumerate(rows):
        if not row["history"]:
            continue
        times = [point[0] for point in row["history"]]
        name = row["name"].partition(": ")[2] or row["name"]
        colour = COLOURS[number % len(COLOURS)]
        axes[0].plot(times, [point[1] for point in row["history"]], color=colour, label=name)
        axes[1].plot(times, [point[3] for point in row["history"]], color=colour, label=name)
    for axis, title in zip(axes, ("instances ready", "requests inside"), strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("second")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=4, fontsize=7)
    figure.savefig(path, dpi=DOTS)
    pyplot.close(figure)

"""The picture: decode beside peers, the way over HTTP, and how both grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.rows import Row
from bench.systems import (
    ENGINES,
    LLAMA_CPP,
    LLAMA_CPP_Q4,
    OPENVINO_INT8,
    OURS,
    OURS_FP32,
    OURS_INT4,
)

COLOURS = {
    OURS: "#c2410c",
    OURS_INT4: "#fb923c",
    OURS_FP32: "#f3cdb4",
    LLAMA_CPP: "#1d4ed8",
    LLAMA_CPP_Q4: "#93c5fd",
    OPENVINO_INT8: "#0f766e",
}
OTHERS = "#6b7280"


def draw(path: Path, rows: Sequence[Row], model: str) -> None:
    """Write a PNG of up to four panels; a panel without rows stays out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row.model == model]
    panels = [
        ("decode, engine alone", "streams", _decode(rows, "engine")),
        ("time to first token, ms", "prompt tokens", _first_tokens(rows)),
        ("growth with the batch", "streams", _growth(rows, "batch")),
        ("growth with the prompt, 8 streams", "prompt tokens", _growth(rows, "prompt")),
    ]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5 * len(panels), 4.2), layout="constrained", squeeze=False
    )
    for axis, (title, label, lines) in zip(axes[0], panels, strict=True):
        bars = "growth" not in title
        for number, (system, points) in enumerate(lines.items()):
            colour = COLOURS.get(system.removesuffix(" over HTTP"), OTHERS)
            hatch = "//" if system.endswith("HTTP") else None
            values = [value for _, value in points]
            if bars:
                width = 0.8 / len(lines)
                positions = [at + number * width for at in range(len(points))]
                axis.bar(positions, values, width, color=colour, label=system, hatch=hatch)
                axis.set_xticks(
                    [at + 0.4 - width / 2 for at in range(len(points))], [str(x) for x, _ in points]
                )
            else:
                axis.plot([x for x, _ in points], values, "o-", color=colour, label=system)
        axis.set_title(title if "ms" in title else f"{title}, tokens/s")
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False)
    figure.suptitle(model)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


Lines = dict[str, list[tuple[int, float]]]


def _decode(rows: Sequence[Row], path: str) -> Lines:
    lines: Lines = {}
    for system in ENGINES:
        for way in ("engine", "http"):
            points = [
                (row.streams, row.tokens_per_second or 0.0)
                for row in rows
                if (row.section, row.system, row.path) == ("decode", system, way)
                and not row.prefill_counted
            ]
            if points:
                lines[system if way == path else f"{system} over HTTP"] = points
    return lines


def _first_tokens(rows: Sequence[Row]) -> Lines:
    lines: Lines = {}
    for row in rows:
        if row.section == "ttft":
            name = row.system if row.path == "engine" else f"{row.system} over HTTP"
            lines.setdefault(name, []).append((row.prompt_tokens, row.ttft_ms_p50 or 0.0))
    return lines


def _growth(rows: Sequence[Row], section: str) -> Lines:
    lines: Lines = {}
    for row in rows:
        if row.section == section and not row.prefill_counted:
            at = row.streams if section == "batch" else row.prompt_tokens
            lines.setdefault(row.system, []).append((at, row.tokens_per_second or 0.0))
    return lines

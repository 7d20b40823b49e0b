"""Results for people and for files: the table on the terminal, the ratios, the JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.gateway import GatewayFigures
from bench.limits import Limits
from bench.rows import Row
from bench.targets import Ratio

_COLUMNS = (
    ("system", 26),
    ("path", 6),
    ("streams", 7),
    ("prompt", 6),
    ("new", 4),
    ("prefill", 7),
    ("tokens/s", 9),
    ("least..most", 15),
    ("steady", 8),
    ("share", 6),
    ("ttft p50", 9),
    ("p99 ms", 9),
    ("MB", 6),
    ("start s", 7),
)


def table(rows: Sequence[Row]) -> str:
    """Lay out all rows, a block for each section and model."""
    lines: list[str] = []
    block = None
    for row in rows:
        if (row.section, row.model) != block:
            block = (row.section, row.model)
            lines += ["", f"{row.section}: {row.model}"]
            lines.append("  ".join(name.ljust(width) for name, width in _COLUMNS))
        lines.append("  ".join(c.ljust(w) for c, (_, w) in zip(_cells(row), _COLUMNS, strict=True)))
    return "\n".join(line.rstrip() for line in lines)


def _cells(row: Row) -> list[str]:
    spread = f"{_number(row.least)}..{_number(row.most)}" if row.least is not None else "-"
    name = f"{row.system} ({row.note})" if row.section == "goon" else row.system
    share = "-" if row.share_of_limit is None else f"{100 * row.share_of_limit:.0f}%"
    return [
        f"{row.note}, worker {_number(row.workers_mb)} MB" if row.section == "memory" else name,
        row.path,
        str(row.streams),
        str(row.prompt_tokens),
        str(row.new_tokens),
        "yes" if row.prefill_counted else "no",
        _number(row.tokens_per_second),
        spread,
        _number(row.steady_tokens_per_second),
        share,
        _number(row.ttft_ms_p50),
        _number(row.ttft_ms_p99),
        _number(row.rss_mb),
        _number(row.start_seconds),
    ]


def ratio_table(ratios: Sequence[Ratio]) -> str:
    """Lay out what must be reached, and whether it is."""
    lines = ["", "what must be reached".ljust(64) + "here    floor   aim"]
    for ratio in ratios:
        values = f"{ratio.value:<8.2f}{ratio.floor:<8.2f}{ratio.aim:<8.2f}"
        lines.append(f"{ratio.name.ljust(64)}{values}{ratio.verdict}")
    return "\n".join(lines)


def quality_table(figures: Sequence[dict[str, Any]]) -> str:
    """Lay out what each precision costs."""
    lines = ["", "perplexity on held-out prose".ljust(32) + "value     over fp32"]
    for figure in figures:
        cost = figure["cost_percent"]
        over = "-" if cost is None else f"{cost:+.2f} %"
        lines.append(f"{figure['system'].ljust(32)}{figure['perplexity']:<10.3f}{over}")
    return "\n".join(lines)


def gateway_table(figures: GatewayFigures) -> str:
    """Lay out what was measured through the gateway and past it."""
    spread = f"{figures.ratio_least:.3f}..{figures.ratio_most:.3f}"
    return "\n".join(
        [
            "",
            f"gateway: {figures.model}, {figures.streams} streams, {figures.new_tokens} new, "
            f"median of {figures.pairs} pairs",
            "".ljust(26) + "gateway   direct",
            "tokens/s".ljust(26)
            + f"{figures.tokens_per_second:<10.0f}{figures.direct_tokens_per_second:<10.0f}"
            f"ratio {figures.ratio:.3f} ({spread})",
            "time to first token, ms".ljust(26)
            + f"{figures.ttft_ms:<10.2f}{figures.direct_ttft_ms:<10.2f}"
            f"added {figures.added_ttft_ms:.2f}",
            "CPU us a chunk".ljust(26) + f"{figures.cpu_us_per_chunk:.1f}",
            "idle memory (RSS), MB".ljust(26) + f"{figures.idle_rss_mb:.1f}",
            "process start to ready, s".ljust(26) + f"{figures.ready_seconds:.1f}",
        ]
    )


def write_json(
    path: Path,
    limits: Limits,
    rows: Sequence[Row],
    ratios: Sequence[Ratio],
    quality: Sequence[dict[str, Any]],
    about: dict[str, Any],
    gateway: GatewayFigures | None = None,
) -> None:
    """Write everything that was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": limits.as_json(),
        **about,  # with the machine of the earlier run, where there was one
        "rows": [_rounded(asdict(row)) for row in rows],
        "ratios": [_rounded(asdict(ratio) | {"verdict": ratio.verdict}) for ratio in ratios],
        "quality": [_rounded(dict(figure)) for figure in quality],
        "gateway": _rounded(asdict(gateway)) if gateway else None,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"

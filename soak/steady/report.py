"""The report of a steady run: a table, and a plot of memory over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soak.steady.footprint import Footprint, processes, thirds
from soak.steady.run import Steady

# Of the samples: a service takes what it needs while it first meets every kind of request.
WARM_UP = 0.1


def write_report(found: Steady, folder: Path) -> str:
    """Write report.md and report.png into the folder; return the former."""
    text = markdown(found)
    (folder / "report.md").write_text(text, encoding="utf-8")
    draw(found.footprints, folder / "report.png")
    return text


def markdown(found: Steady) -> str:
    """The report."""
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(found.verdicts.items()))
    lines = [
        f"{found.asked:,} short requests in {found.seconds / 60:.0f} minutes, "
        f"{found.rate:g} a second were due: {counts}.",
        "",
        "| process | resident, MiB: first third | last third | growth | share, MiB: first third "
        "| last third | growth |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, own in processes(found.footprints).items():
        warm = own[int(WARM_UP * len(own)) :]
        cells = [name]
        for values in ([one.rss for one in warm], [one.pss for one in warm]):
            first, last = thirds(values)
            cells += [f"{first:.1f}", f"{last:.1f}", f"{100 * (last / first - 1):+.1f} %"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {count} x {why}" for why, count in found.failures.items())]
    lines += [f"- left behind: {name}" for name in found.left_behind]
    return "\n".join(lines).rstrip() + "\n"


def draw(footprints: Sequence[Footprint], path: Path) -> None:
    """Draw each process's memory over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 4))
    for name, own in processes(footprints).items():
        minutes = [one.at / 60 for one in own]
        axes.plot(minutes, [one.rss for one in own], label=f"{name}, resident")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("MiB")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)

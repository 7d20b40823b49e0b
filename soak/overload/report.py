"""The report of an overload run: a table, and a plot of load against served and waiting."""

from __future__ import annotations

from pathlib import Path

from soak.overload.load import TOKENS
from soak.overload.run import CLIENTS, Overload


def write_report(found: Overload, folder: Path) -> str:
    """Write report.md and report.png into the folder; return the former."""
    text = markdown(found)
    (folder / "report.md").write_text(text, encoding="utf-8")
    draw(found, folder / "report.png")
    return text


def markdown(found: Overload) -> str:
    """The report."""
    lines = [
        f"Streams of {TOKENS} tokens. Full load, {CLIENTS} clients in turn: {found.full:.1f} "
        f"requests a second. At {found.steps[-1].load:g} times that, {100 * found.kept:.0f} % of "
        "what is served at full load.",
        "",
        "| offered, times full load | requests a second | served | refused | first token, s: p50 "
        "| p99 | the sender late, s: p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for step in found.steps:
        lines.append(
            f"| {step.load:g} | {step.offered:.1f} | {step.served:.1f} | {step.refused:.1f} "
            f"| {step.first[0]:.2f} | {step.first[1]:.2f} | {step.late:.2f} |"
        )
    lines.append("")
    lines += [
        f"- {count} x {why} at {step.load:g}"
        for step in found.steps
        for why, count in step.bad.items()
    ]
    lines += [f"- left behind: {name}" for name in found.left_behind]
    return "\n".join(lines).rstrip() + "\n"


def draw(found: Overload, path: Path) -> None:
    """Draw served and refused, and the time to the first token, over the load."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    loads = [step.load for step in found.steps]
    figure, (rates, waits) = pyplot.subplots(1, 2, figsize=(11, 4))
    rates.plot(loads, [step.offered for step in found.steps], color="0.7", label="asked for")
    rates.plot(loads, [step.served for step in found.steps], marker="o", label="served")
    rates.plot(loads, [step.refused for step in found.steps], marker="o", label="refused")
    rates.set_ylabel("requests a second")
    waits.plot(loads, [step.first[0] for step in found.steps], marker="o", label="median")
    waits.plot(loads, [step.first[1] for step in found.steps], marker="o", label="p99")
    waits.set_ylabel("time to first token, s")
    for axes in (rates, waits):
        axes.set_xlabel("load, in times of full load")
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)

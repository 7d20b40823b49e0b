"""The report of a soak: a table, JSON and a plot."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from soak.asking import FAILED, HUNG, RIGHT, WRONG, Outcome
from soak.faults import FAULTS
from soak.memory import growth
from soak.run import Event, Result

ROLES = ("gateway", "java", "worker")


def is_good(result: Result) -> bool:
    """Whether nothing was wrong, lost or left behind."""
    return (
        all(outcome.verdict == RIGHT for outcome in result.outcomes)
        and bool(result.outcomes)
        and not any(event.wrong for event in result.events)
        and not result.left_behind
    )


def write(result: Result, about: dict[str, Any], folder: Path) -> str:
    """Write report.json and report.md; return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"about": about, **dataclasses.asdict(result)}
    (folder / "report.json").write_text(json.dumps(found), encoding="utf-8")
    text = markdown(result, about)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text


def markdown(result: Result, about: dict[str, Any]) -> str:
    """The report."""
    counts = Counter(outcome.verdict for outcome in result.outcomes)
    total = len(result.outcomes)
    lines = [
        f"{total:,} requests in {result.seconds:.0f} s by {about['clients']} clients beside "
        f"{len(result.events)} faults of {len({event.name for event in result.events})} kinds "
        f"(seed {about['seed']}): {counts[WRONG]} wrong, {counts[HUNG]} hung, "
        f"{counts[FAILED]} failed; {result.replayed} lost a worker and were answered by another.",
        "",
        *_requests(result.outcomes),
        "",
        *_faults(result),
        "",
        "| process | MiB, first third | MiB, last third | most |",
        "|---|---|---|---|",
    ]
    for role in ROLES:
        first, last = growth(result.samples, role)
        most = max((sample.mib.get(role, 0.0) for sample in result.samples), default=0.0)
        lines.append(f"| {role} | {first:.0f} | {last:.0f} | {most:.0f} |")
    why = Counter(outcome.why for outcome in result.outcomes if outcome.verdict != RIGHT)
    lines += ["", *(f"- {count} x {reason}" for reason, count in why.most_common(20))]
    lines += [f"- left behind: {name}" for name in result.left_behind]
    return "\n".join(lines).rstrip() + "\n"


def _requests(outcomes: Iterable[Outcome]) -> list[str]:
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.kind, []).append(outcome)
    lines = ["| requests | asked | right | p50, s | p99, s |", "|---|---|---|---|---|"]
    for kind, own in sorted(kinds.items()):
        right = sum(outcome.verdict == RIGHT for outcome in own)
        times = [outcome.seconds for outcome in own]
        p50, p99 = statistics.median(times), percentile(times, 99)
        lines.append(f"| {kind} | {len(own)} | {right} | {p50:.2f} | {p99:.2f} |")
    return lines


def _faults(result: Result) -> list[str]:
    kinds: dict[str, list[Event]] = {}
    for event in result.events:
        kinds.setdefault(event.name, []).append(event)
    lines = ["| fault | times | next answer, s: median | most | what |", "|---|---|---|---|---|"]
    for name, fault in FAULTS.items():
        if name in result.skipped:
            lines.append(f"| {name} | 0 | | | not done: {result.skipped[name]} |")
        if name not in kinds:
            continue
        own = kinds[name]
        times = [event.seconds for event in own if event.seconds is not None]
        middle = f"{statistics.median(times):.1f}" if times else ""
        most = f"{max(times):.1f}" if times else ""
        wrong = "".join(f"; WRONG: {event.wrong}" for event in own if event.wrong)
        lines.append(f"| {name} | {len(own)} | {middle} | {most} | {fault.purpose}{wrong} |")
    return lines


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def draw(result: Result, path: Path) -> None:
    """Draw answers, faults and memory over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (answers, memory) = pyplot.subplots(2, 1, figsize=(11, 7), sharex=True)
    for verdict, colour in ((RIGHT, "tab:blue"), (WRONG, "tab:red"), (FAILED, "tab:orange")):
        own = [outcome for outcome in result.outcomes if outcome.verdict == verdict]
        times = [outcome.at + outcome.seconds for outcome in own]
        took = [max(outcome.seconds, 1e-3) for outcome in own]
        answers.scatter(times, took, s=4, color=colour, label=f"{len(own)} {verdict}")
    for event in result.events:
        if event.seconds is not None:
            answers.axvline(event.at, color="0.8", linewidth=0.8, zorder=0)
    answers.set_yscale("log")
    answers.set_ylabel("seconds of a request")
    answers.set_title("replies by when they came; lines: a process was ended")
    answers.legend(loc="upper right")
    for role in ROLES:
        times = [sample.at for sample in result.samples]
        memory.plot(times, [sample.mib.get(role, 0.0) for sample in result.samples], label=role)
    memory.set_ylabel("resident MiB")
    memory.set_xlabel("seconds")
    memory.legend(loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)

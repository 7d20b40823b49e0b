"""`python -m bench.fleet`: simulates fleets from the measured curve of one instance.

Results go to bench/results/fleet.json, pictures to docs/images.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from bench.fleet import curve as curves
from bench.fleet import scenarios

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "bench" / "results" / "fleet.json"
MEASURED = ROOT / "bench" / "results" / "zen4.json"
IMAGES = ROOT / "docs" / "images"
SECTIONS: dict[str, Callable[[curves.Curve, float], Iterator[scenarios.Scenario]]] = {
    "steady": scenarios.steady,
    "burst": scenarios.bursts,
    "failures": scenarios.failures,
}


def parser() -> argparse.ArgumentParser:
    """All options."""
    result = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    result.add_argument(
        "--only", choices=[*SECTIONS, "day", "trial", "plot"], help="this part alone"
    )
    result.add_argument(
        "--share", type=float, default=1.0, help="of the simulated time (default: all of it)"
    )
    result.add_argument("--most", type=int, default=10_000, help="instances at most")
    result.add_argument("--output", type=Path, default=RESULTS, metavar="FILE")
    return result


def main(words: list[str] | None = None) -> int:
    """Simulate, write the rows, draw."""
    options = parser().parse_args(words)
    curve = curves.read(MEASURED)
    found = json.loads(options.output.read_text()) if options.output.exists() else {"rows": []}
    found["curve"] = {"from": MEASURED.name, **asdict(curve)}
    for section, make in SECTIONS.items():
        if options.only not in (None, section):
            continue
        rows = []
        for scenario in make(curve, options.share):
            if scenario.plan.instances > options.most:
                continue
            row = scenarios.run(scenario)
            rows.append(row)
            print(line(row), flush=True)
        found["rows"] = [row for row in found["rows"] if row["section"] != section] + rows
        write(options.output, found)
    if options.only in (None, "day"):
        rows = scenarios.days(curve)
        found["rows"] = [row for row in found["rows"] if row["section"] != "day"] + rows
        write(options.output, found)
    if options.only == "trial":
        from bench.fleet import trial

        found["trial"] = trial.run()
        write(options.output, found)
    if options.only in (None, "plot"):
        from bench.fleet import plot

        plot.draw(IMAGES, found)
    return 0


def write(path: Path, found: object) -> None:
    """Write the results."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def line(row: scenarios.Row) -> str:
    """Return a row in words."""
    return (
        f"{time.strftime('%H:%M:%S')} {row['section']:<8} {row['name']:<44}"
        f" {row['requests']:>9,} requests, first token {row['ttft_p50']:.3f} /"
        f" {row['ttft_p99']:.3f} s, hits {row['prefix_hits']:.2f}, failed"
        f" {row['failed_percent']:.2f} %, {row['instance_hours']:,.1f} h,"
        f" ${row['dollars_per_million_by_request']:.3f} a million"
        f" ({row['took_seconds']:.0f} s)"
    )


if __name__ == "__main__":
    sys.exit(main())

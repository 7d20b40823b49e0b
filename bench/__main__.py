"""`./scripts/bench`: one command, one run; table, picture and bench/results/latest.json."""

from __future__ import annotations

import argparse
import dataclasses
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench import archives, limits, merge, plot, report
from bench.checkpoints import ROOT, Checkpoint, embedded, random_gpt2
from bench.environments import LLAMA, OPENVINO, TRANSFORMERS, SetUpError
from bench.gateway import GatewayFigures
from bench.gateway import measure as measure_gateway
from bench.options import parser
from bench.parent import Parent
from bench.plan import (
    QUICK,
    QUICK_SECTIONS,
    QUICK_TABLE,
    SECTIONS,
    TABLE,
    TABLE_SECTIONS,
    Plan,
)
from bench.quality import default_text, perplexities
from bench.rows import Row
from bench.serving import http_sections
from bench.speed import engine_sections
from bench.systems import OURS, PRECISIONS, Bench
from bench.targets import Ratios, gateway_ratios

RESULTS = ROOT / "bench" / "results"


def plan_of(args: argparse.Namespace) -> Plan:
    """Choose sizes: the mode's, with what the command line changes."""
    plan = QUICK if args.quick else Plan()
    if args.table:
        plan = QUICK_TABLE if args.quick else TABLE
    if args.rounds is not None:
        plan = dataclasses.replace(plan, rounds=args.rounds)
    if args.requests is not None:
        plan = dataclasses.replace(plan, memory_requests=args.requests)
    return dataclasses.replace(plan, keep_archives=args.keep_archives)


def main(arguments: list[str] | None = None) -> int:
    """Run the bench."""
    args = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        parent = Parent(args.parent.resolve()) if args.parent else None
        return _measure(args, Bench(plan_of(args), say, parent), began)
    except SetUpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _name(args: argparse.Namespace) -> str:
    if args.table:
        return "quick-table" if args.quick else "table"
    return "quick" if args.quick else "latest"


def _measure(args: argparse.Namespace, bench: Bench, began: float) -> int:
    usual = QUICK_SECTIONS if args.quick else SECTIONS
    sections = args.only or (TABLE_SECTIONS if args.table else usual)
    output = args.output or RESULTS / f"{_name(args)}.json"
    bench.say("limits of this machine")
    machine = limits.measure(bench.plan.threads)
    # Before the hour's work: what cannot be joined should be said at once.
    earlier = merge.read(output, machine, args.quick) if args.only else merge.Earlier()
    rows: list[Row] = []
    checkpoints = _checkpoints(args, sections)
    for checkpoint in checkpoints:
        rows += engine_sections(bench, checkpoint, machine, sections)
        rows += http_sections(bench, checkpoint, machine, sections)
    quality: list[dict[str, Any]] = []
    if "quality" in sections:
        text = args.text.read_text(encoding="utf-8") if args.text else default_text()
        quality = perplexities(bench, embedded(), text)
    gateway = _gateway(bench) if "gateway" in sections else None
    if not rows and not quality and gateway is None:
        raise SetUpError("nothing could be measured")
    all_rows, all_gateway = earlier.with_rows(rows), gateway or earlier.gateway
    model = all_rows[0].model if all_rows else checkpoints[0].name
    ratios = Ratios(all_rows, model).found + (gateway_ratios(all_gateway) if all_gateway else [])
    about = {"sections": sections} | _about(bench, checkpoints, time.monotonic() - began)
    about = earlier.with_about(about, machine, rows)
    report.write_json(
        output, machine, all_rows, ratios, quality or earlier.quality, about, all_gateway
    )
    plot.draw(output.with_suffix(".png"), all_rows, model)
    if rows:
        print(report.table(rows))
    if gateway:
        print(report.gateway_table(gateway))
    if ratios:
        print(report.ratio_table(ratios))
    if quality:
        print(report.quality_table(quality))
    print(f"\n{output}" + (f" and {output.with_suffix('.png').name}" if all_rows else ""))
    if bench.broken:
        print(f"error: failed while it was measured: {', '.join(bench.broken)}", file=sys.stderr)
    return 1 if bench.broken else 0


def _gateway(bench: Bench) -> GatewayFigures | None:
    checkpoint = embedded()
    bench.say(f"gateway: {checkpoint.name}, {bench.plan.gateway_pairs} pairs")
    try:
        return measure_gateway(bench.pack(OURS, checkpoint), checkpoint.name, bench.plan)
    except (SetUpError, RuntimeError, OSError) as error:
        bench.leave_out("gateway", error, OURS)
        return None


def _checkpoints(args: argparse.Namespace, sections: Sequence[str]) -> list[Checkpoint]:
    if set(sections) <= {"quality", "gateway"}:  # the embedded model's alone
        return [embedded()]
    which = args.model or ("gpt2" if args.quick or args.table else "both")
    found = [random_gpt2()] if which != "embedded" else []
    return [*found, embedded()] if which != "gpt2" else found


def _about(bench: Bench, checkpoints: list[Checkpoint], seconds: float) -> dict[str, Any]:
    """Say what was measured with what, so that a figure can be had again."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    archives_used = {}
    for checkpoint in checkpoints:
        for system, precision in PRECISIONS.items():
            home = archives.home_of(checkpoint, precision)
            if (home / "model-made-from").exists():
                found = archives.metadata(home)
                archives_used[f"{system}, {checkpoint.name}"] = {
                    key: found.get(key) for key in ("engine", "precision", "size_bytes")
                }
    return {
        "commit": commit,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(seconds),
        "plan": dataclasses.asdict(bench.plan),
        "python": platform.python_version(),
        "peers": [*LLAMA.packages, *OPENVINO.packages, *TRANSFORMERS.packages],
        "archives": archives_used,
    }


if __name__ == "__main__":
    sys.exit(main())

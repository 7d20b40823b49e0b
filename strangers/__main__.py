"""`./scripts/clients`: a table that grows, a document at the end, and a status that tells."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.checkpoints import ROOT
from strangers import report
from strangers.catalogue import STRANGERS
from strangers.environments import Home, Missing
from strangers.options import parser
from strangers.running import Outcome, run_check
from strangers.served import Served
from strangers.stranger import Stranger

WRONG_USE = 2
Rows = dict[Stranger, tuple[str, Mapping[str, Outcome]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run clients; return 1 where something did not work."""
    options = parser().parse_args(arguments)
    if options.list:
        for each in STRANGERS:
            print(f"{each.name:<18} {', '.join(each.installs) or each.package}")
        return 0
    names = {each.name for each in STRANGERS}
    unknown = [name for name in options.only if name not in names]
    if unknown:
        print(f"error: no client {', '.join(unknown)}; see --list", file=sys.stderr)
        return WRONG_USE
    chosen = [each for each in STRANGERS if not options.only or each.name in options.only]
    chosen = [each for each in chosen if each.is_light or not options.light]
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        rows, is_good = _run_all(chosen, say)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    report.write(rows, ROOT / "docs" / "clients.md")
    say("wrote docs/clients.md")
    return 0 if is_good else 1


def _run_all(chosen: Sequence[Stranger], say: report.Say) -> tuple[Rows, bool]:
    """Run each; what cannot be installed is reported, and is no good."""
    rows: Rows = {}
    is_good = True
    with tempfile.TemporaryDirectory() as folder:
        say("packing and starting the embedded model")
        served = Served(Path(folder))
        try:
            for number, stranger in enumerate(chosen, 1):
                say(f"{number}/{len(chosen)} {stranger.name}")
                home = Home(stranger)
                try:
                    home.ensure(say)
                except Missing as missing:
                    say(f"{stranger.name} does not run here: {missing}")
                    is_good = False
                    continue
                outcomes = {}
                for check in stranger.checks:
                    outcomes[check] = run_check(stranger, check, served)
                    if not outcomes[check].holds:
                        say(f"{stranger.name}, {check}: {outcomes[check].why}")
                version = home.version()
                rows[stranger] = version, outcomes
                print(report.line(stranger, version, outcomes), flush=True)
                is_good = is_good and all(each.holds for each in outcomes.values())
        finally:
            served.stop()
    return rows, is_good


if __name__ == "__main__":
    sys.exit(main())

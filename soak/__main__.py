"""`./scripts/soak`: one command, one run; a table, a plot, and a status that says how it went."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from soak import report
from soak.bombs.bomber import BomberFailed
from soak.bombs.kinds import BOMBS
from soak.doors.attacks import AttackerFailed
from soak.faults import FAULTS
from soak.options import parser
from soak.run import Say, soak
from soak.service import DidNotStart

LOG = "service.log"


def main(arguments: list[str] | None = None) -> int:
    """Run a soak; return 1 where something was wrong, lost, hung or left behind."""
    args = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    kinds = dict.fromkeys(BOMBS, "") if args.bombs else {n: f.purpose for n, f in FAULTS.items()}
    if args.list:
        print("\n".join(f"{name:<16} {purpose}".rstrip() for name, purpose in kinds.items()))
        return 0
    unknown = sorted(set(args.only) - set(kinds))
    if unknown:
        print(f"error: there is no kind {', '.join(unknown)}; see --list", file=sys.stderr)
        return 2
    args.output.mkdir(parents=True, exist_ok=True)
    run = next((run for name, run in INSTEAD.items() if getattr(args, name)), _faults)
    try:
        return 0 if run(args, say) else 1
    except (DidNotStart, AttackerFailed, BomberFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _faults(args: Namespace, say: Say) -> bool:
    result = soak(
        minutes=args.minutes,
        most=args.requests,
        seed=args.seed,
        clients=args.clients,
        every=args.every,
        only=args.only,
        log=args.output / LOG,
        say=say,
    )
    print(report.write(result, _about(args.seed, args.clients), args.output))
    report.draw(result, args.output / "report.png")
    say(f"{args.output}/report.md, report.json, report.png, {LOG}")
    return report.is_good(result)


def _doors(args: Namespace, say: Say) -> bool:
    from soak.doors.run import attack_doors

    return attack_doors(args.minutes, args.seed, args.output / LOG, say)


def _steady(args: Namespace, say: Say) -> bool:
    from soak.steady.report import write_report
    from soak.steady.run import steady

    found = steady(
        minutes=args.minutes, rate=args.rate, seed=args.seed, folder=args.output, say=say
    )
    print(write_report(found, args.output))
    return found.is_good


def _overload(args: Namespace, say: Say) -> bool:
    from soak.overload.report import write_report
    from soak.overload.run import overload

    found = overload(minutes=args.minutes, seed=args.seed, log=args.output / LOG, say=say)
    print(write_report(found, args.output))
    return found.is_good


def _bombs(args: Namespace, say: Say) -> bool:
    from soak.bombs.run import bomb_service

    return bomb_service(args.only, args.output / LOG, say)


# What each option runs instead of faults.
INSTEAD: dict[str, Callable[[Namespace, Say], bool]] = {
    "doors": _doors,
    "steady": _steady,
    "overload": _overload,
    "bombs": _bombs,
}


def _about(seed: int, clients: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "clients": clients,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())

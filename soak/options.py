"""The command line of scripts/soak; needs nothing but the standard library."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  ./scripts/soak                           ten minutes of mixed requests beside faults of all kinds
  ./scripts/soak --minutes 2 --seed 7      shorter, and other faults
  ./scripts/soak --only kill-worker,kill-java
  ./scripts/soak --doors --minutes 5       hostile bytes at the door instead, by a grammar
  ./scripts/soak --steady --minutes 120    short requests without faults: memory stays flat
  ./scripts/soak --overload --minutes 5    up to three times what can be served
  ./scripts/soak --bombs                   costly requests, and how long a neighbour's stream waits

Every request is first sent once, alone; whatever faults come later, its reply must be the same,
token by token. The report goes to build/soak/: report.json, report.md and a plot. The exit status
is 1 if a reply was wrong, lost or hung.
"""


def parser() -> argparse.ArgumentParser:
    """All options."""
    result = argparse.ArgumentParser(
        prog="soak",
        description="Serves mixed requests beside faults, and compares every reply.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--minutes", type=_positive, default=10.0, help="how long (default 10)")
    result.add_argument(
        "--requests", type=_whole, help="end after so many requests, if that comes first"
    )
    result.add_argument(
        "--seed", type=int, default=1, help="fixes faults, requests and attacks (default 1)"
    )
    result.add_argument(
        "--clients", type=_whole, default=8, help="how many ask at the same time (default 8)"
    )
    result.add_argument(
        "--every", type=_positive, default=6.0, help="seconds between two faults (default 6)"
    )
    result.add_argument(
        "--only", type=_names, default=(), metavar="A,B", help="only these kinds of fault, or bombs"
    )
    result.add_argument(
        "--list", action="store_true", help="list all kinds of fault, or bombs, and exit"
    )
    result.add_argument(
        "--doors", action="store_true", help="send hostile HTTP instead, and watch the neighbours"
    )
    result.add_argument(
        "--steady", action="store_true", help="send short requests instead, and watch memory"
    )
    result.add_argument(
        "--overload",
        action="store_true",
        help="send streams at rising rates instead, up to three times what can be served",
    )
    result.add_argument(
        "--bombs",
        action="store_true",
        help="send costly requests instead, and measure the gaps of a neighbour's stream",
    )
    result.add_argument(
        "--rate", type=_positive, default=15.0, help="requests a second of --steady (default 15)"
    )
    result.add_argument(
        "--output", type=Path, default=Path("build/soak"), help="where the report goes"
    )
    return result


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value

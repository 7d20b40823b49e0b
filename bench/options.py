"""The command line of scripts/bench; needs nothing but the standard library."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.plan import SECTIONS

EXAMPLES = """\
examples:
  ./scripts/bench                          everything, about an hour; peers are installed first
  ./scripts/bench --quick                  the headline figures, under three minutes
  ./scripts/bench --only decode,http       some sections
  ./scripts/bench --table --parent ../old  what must be reached, beside an earlier commit, in a
                                           quarter of an hour (git worktree add ../old COMMIT)
  ./scripts/bench --only quality --text my.txt

sections:
  decode   tokens per second at 1, 8 and 32 streams, each engine beside its peers
  http     the same through TorchServe, and beside the tutorial handler
  ttft     time to first token      goon    the same when the prompt is known
  churn    64 ragged requests over 32 slots
  batch    growth from 1 to 64 streams      prompt  growth from 16 to 960 tokens
  memory   resident memory over many requests
  quality  perplexity of every precision on the embedded model
  gateway  what the gateway costs: the same TorchServe asked through it and directly
  cold     start to first token, and memory then
  busy     decode while another process takes one core

--only replaces these sections in the file of results and keeps the others.
Results go to bench/results/latest.json and latest.png (--quick: quick, --table: table).
Leave the machine alone meanwhile: whatever else runs is measured too.
"""


def parser() -> argparse.ArgumentParser:
    """All options."""
    result = argparse.ArgumentParser(
        prog="bench",
        description="Measures this project beside its peers, interleaved.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--quick", action="store_true", help="small sizes, fewer sections")
    result.add_argument("--only", type=_sections, metavar="A,B", help="these sections only")
    result.add_argument(
        "--table", action="store_true", help="the table of targets: GPT-2 small's shape alone"
    )
    result.add_argument(
        "--parent", type=Path, metavar="DIR", help="a checkout to measure beside this one"
    )
    result.add_argument("--model", choices=["gpt2", "embedded", "both"], default=None)
    result.add_argument("--rounds", type=int, help="interleaved runs of each figure (default 5)")
    result.add_argument("--requests", type=int, help="requests of the memory section")
    result.add_argument(
        "--keep-archives",
        action="store_true",
        help="keep archives that an earlier packager made",
    )
    result.add_argument("--text", type=Path, help="prose for the perplexity (default: bundled)")
    result.add_argument("--output", type=Path, help="where the JSON goes")
    return result


def _sections(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = sorted(set(chosen) - set(SECTIONS))
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"no section {', '.join(unknown)}; see --help")
    return chosen

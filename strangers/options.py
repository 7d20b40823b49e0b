"""The command line of scripts/clients; needs nothing but the standard library."""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  ./scripts/clients                    all of them; environments are made once, about 6 GB
  ./scripts/clients --light            those that ./scripts/test runs, in two to three minutes
  ./scripts/clients --only openai,llm  some
  ./scripts/clients --list             what there is

Each is asked for a text, a stream, to leave a stream, to make a mistake, and to come back to a
service that is full; the measuring tools run as they are. Their rows of docs/clients.md are written
anew.
"""


def parser() -> argparse.ArgumentParser:
    """All options."""
    result = argparse.ArgumentParser(
        prog="clients",
        description="Runs other people's clients against the served embedded model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--only",
        type=lambda given: given.split(","),
        default=[],
        metavar="NAME,NAME",
        help="these clients alone",
    )
    result.add_argument("--light", action="store_true", help="those that need little")
    result.add_argument("--list", action="store_true", help="what there is")
    return result

"""The command line's grammar and its help. Knows no server."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from gpt2_client.results import DEFAULT_MODEL

DEFAULT_URL = "http://127.0.0.1:8080"

EXAMPLES = """\
examples:
  gpt2 generate "Once upon a time" --max-tokens 60
  echo "The old house" | gpt2 generate - --temperature 0 --json
  gpt2 repl --max-tokens 40
  gpt2 status
  GPT2_MANAGEMENT_KEY=... gpt2 scale 2
  gpt2 --url http://127.0.0.1:7080 --management-url http://127.0.0.1:7081 register gpt2.mar

environment:
  GPT2_URL              where the service is (default http://127.0.0.1:8080)
  GPT2_MANAGEMENT_URL   management address of a bare TorchServe
  GPT2_API_KEY          key for generation, where the service asks for one
  GPT2_MANAGEMENT_KEY   key for status, scale, register and the like

exit codes:
  0 done   1 the server refused or failed   2 wrong usage
  3 no answer: unreachable, timed out, or cut off   130 Ctrl-C
"""


def parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """Build the parser; addresses left out come from `environment`."""
    top = argparse.ArgumentParser(
        prog="gpt2",
        description="Write text with GPT-2, and look after the service that does it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--url", default=environment.get("GPT2_URL", DEFAULT_URL))
    top.add_argument("--management-url", default=environment.get("GPT2_MANAGEMENT_URL"))
    top.add_argument("--timeout", type=_seconds, help="longest silence in seconds (default 120)")
    top.add_argument(
        "--retries", type=_count, help="more tries when the server is busy (default 3)"
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="JSON, one object a line")
    common.add_argument("--model", default=DEFAULT_MODEL, help="default: %(default)s")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_generation(commands, common)
    _add_management(commands, common)
    return top


def _add_generation(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    sampling = argparse.ArgumentParser(add_help=False)
    sampling.add_argument("--version", help="a version of the model; default: the server's")
    sampling.add_argument("--max-tokens", type=int)
    sampling.add_argument("--temperature", type=float, help="0 takes the likeliest token")
    sampling.add_argument("--top-p", type=float)
    sampling.add_argument("--top-k", type=int)
    sampling.add_argument("--min-p", type=float)
    sampling.add_argument("--repetition-penalty", type=float)
    sampling.add_argument("--presence-penalty", type=float)
    sampling.add_argument("--frequency-penalty", type=float)
    sampling.add_argument("--seed", type=int, help="same seed, same text")
    sampling.add_argument("--stop", action="append", metavar="TEXT", help="may be given 16 times")
    sampling.add_argument("--truncate-prompt", action="store_true", default=None)
    generate = commands.add_parser(
        "generate",
        parents=[common, sampling],
        help="write a text and show it while it is written",
        epilog='example: gpt2 generate "Once upon a time" --max-tokens 60 --seed 1',
    )
    generate.add_argument("prompt", help="the beginning; - reads it from standard input")
    generate.add_argument("--n", type=int, help="so many texts")
    generate.add_argument("--no-stream", action="store_true", help="show it when it is whole")
    commands.add_parser(
        "repl",
        parents=[common, sampling],
        help="write together: your line, its continuation, and so on",
        epilog="an empty line lets it go on; /new starts afresh; /quit or Ctrl-D leaves",
    )


def _add_management(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    commands.add_parser(
        "status", parents=[common], help="is it up, what is loaded, which workers run"
    )
    scale = commands.add_parser(
        "scale",
        parents=[common],
        help="serve the model by so many workers",
        description="Bare TorchServe takes 0 or 1: more would freeze each other's streams.",
        epilog="example: gpt2 scale 2",
    )
    scale.add_argument("workers", type=_count)
    register = commands.add_parser(
        "register",
        parents=[common],
        help="load an archive of the model store",
        epilog="example: gpt2 register gpt2-v2.mar",
    )
    register.add_argument("archive", help="its file name in the model store")
    register.add_argument("--workers", type=_count, default=1)
    register.add_argument("--as", dest="name", help="register under this name")
    unregister = commands.add_parser("unregister", parents=[common], help="unload a version")
    unregister.add_argument("version", nargs="?", help="default: the default version")
    default = commands.add_parser(
        "set-default", parents=[common], help="choose the version that plain requests get"
    )
    default.add_argument("version")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0 seconds")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value

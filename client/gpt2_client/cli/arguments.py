"""The command line's grammar and its help, of which the manual and the completions are made too."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping

from gpt2_client import __version__
from gpt2_client.cli.numbers import count, number, parallel, seconds, whole, workers
from gpt2_client.cli.settings import gather
from gpt2_client.results import DEFAULT_MODEL

DESCRIPTION = "Generate text with GPT-2, and manage the service that does it."
EXAMPLES = """\
examples:
  gpt2 generate "Once upon a time" --max-tokens 60
  echo "The old house" | gpt2 generate - --temperature 0 --json
  gpt2 repl --max-tokens 40
  gpt2 embed "The old house" --json
  gpt2 batch requests.jsonl answers.jsonl
  gpt2 score story.txt --format html > story.html
  gpt2 status
  GPT2_MANAGEMENT_KEY=... gpt2 scale 2
  gpt2 --url http://127.0.0.1:7080 --management-url http://127.0.0.1:7081 register gpt2.mar
"""
ENVIRONMENT = {
    "GPT2_URL": (
        "the service's address (default http://127.0.0.1:8080, or the PORT in a checkout's .env "
        "where ./scripts/gpt2 is run); with or without /v1 at the end"
    ),
    "GPT2_MANAGEMENT_URL": "management address of a bare TorchServe",
    "GPT2_API_KEY": "key for generation, if the service requires one",
    "GPT2_MANAGEMENT_KEY": "key for status, scale, register and the like",
    "NO_COLOR": "no colours, even on a terminal",
    "COLUMNS": "width of help and diagrams",
    "http_proxy, https_proxy, no_proxy": "proxies; loopback is always contacted directly",
}
EXIT_CODES = {
    "0": "done",
    "1": "the server refused or failed, or output could not be written",
    "2": "wrong usage or input",
    "3": "no answer: unreachable, timed out, or cut off",
    "130": "Ctrl-C",
    "141": "the reader of the output has gone",
}
# How many requests of a batch are out at once at most, and how long it waits for a lost service.
PARALLEL = 64
PATIENCE_SECONDS = 300.0
# The column at which --help begins to explain.
MEANING_AT = 24
SHELLS = ("bash", "zsh", "fish")

Commands = argparse._SubParsersAction  # what add_subparsers returns has no public name


def parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """Build the parser; addresses left out come from `environment`."""
    settings = gather(environment)
    top = argparse.ArgumentParser(
        prog="gpt2",
        description=textwrap.fill(DESCRIPTION, _width()),
        epilog="\n".join(
            (EXAMPLES, _listed("environment", ENVIRONMENT), _listed("exit codes", EXIT_CODES))
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"gpt2 {__version__}")
    connection = _add_connection(top, settings["GPT2_URL"], settings.get("GPT2_MANAGEMENT_URL"))
    common = argparse.ArgumentParser(add_help=False, parents=[connection])
    common.add_argument("--json", action="store_true", help="JSON, one object per line")
    common.add_argument("--model", default=DEFAULT_MODEL, help="default: %(default)s")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_generation(commands, common)
    _add_files(commands, connection, common)
    _add_management(commands, common)
    _add_shell(commands)
    return top


def _add_connection(
    top: argparse.ArgumentParser, url: str, management_url: str | None
) -> argparse.ArgumentParser:
    """Add what may stand before a command's name; return a parent with the same for behind it."""
    behind = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    # Behind the name nothing has a default: it would replace what stood before.
    top.set_defaults(url=url, management_url=management_url)
    for parser in (top, behind):
        default = argparse.SUPPRESS
        parser.add_argument("--url", default=default, help="the service's address (GPT2_URL)")
        parser.add_argument(
            "--management-url",
            default=default,
            metavar="URL",
            help=("a bare TorchServe's management address"),
        )
        parser.add_argument(
            "--timeout", type=seconds, metavar="SECONDS", help="longest silence (default 120)"
        )
        parser.add_argument(
            "--retries",
            type=count,
            metavar="N",
            help=("retries when the service is busy (default 3)"),
        )
    return behind


def _add_generation(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    sampling = argparse.ArgumentParser(add_help=False)
    sampling.add_argument("--version", help="a version of the model; default: the server's")
    sampling.add_argument("--max-tokens", type=whole, metavar="N")
    sampling.add_argument("--temperature", type=number, metavar="X", help="0: the likeliest token")
    sampling.add_argument("--top-p", type=number, metavar="X")
    sampling.add_argument("--top-k", type=whole, metavar="N")
    sampling.add_argument("--min-p", type=number, metavar="X")
    sampling.add_argument("--repetition-penalty", type=number, metavar="X")
    sampling.add_argument("--presence-penalty", type=number, metavar="X")
    sampling.add_argument("--frequency-penalty", type=number, metavar="X")
    sampling.add_argument("--seed", type=whole, metavar="N", help="same seed, same text")
    sampling.add_argument("--stop", action="append", metavar="TEXT", help="may be given 16 times")
    sampling.add_argument(
        "--truncate-prompt",
        action="store_true",
        default=None,
        help="shorten a text that does not fit",
    )
    generate = commands.add_parser(
        "generate",
        parents=[common, sampling],
        help="continue a text and show it while it is generated",
        epilog='example: gpt2 generate "Once upon a time" --max-tokens 60 --seed 1',
    )
    generate.add_argument("prompt", help="the beginning; - reads it from standard input (UTF-8)")
    generate.add_argument("--n", type=whole, metavar="N", help="number of completions")
    generate.add_argument("--no-stream", action="store_true", help="show it when it is complete")
    commands.add_parser(
        "repl",
        parents=[common, sampling],
        help="write together: your line, its continuation, and so on",
        epilog="an empty line continues the text; /new starts over; /quit or Ctrl-D leaves",
    )
    embed = commands.add_parser(
        "embed",
        parents=[common],
        help="embed texts, one vector per line",
        epilog='example: gpt2 embed "The old house" "An old home", or gpt2 embed - < lines.txt',
    )
    embed.add_argument(
        "texts", nargs="+", metavar="TEXT", help="a text; - alone: each line of standard input"
    )
    embed.add_argument(
        "--pooling", choices=("mean", "last"), help="the mean over its tokens, or the last one"
    )
    embed.add_argument("--dimensions", type=whole, metavar="N", help="keep only this many numbers")
    embed.add_argument(
        "--truncate-prompt", action="store_true", help="shorten a text that does not fit"
    )


def _add_files(
    commands: Commands[argparse.ArgumentParser],
    connection: argparse.ArgumentParser,
    common: argparse.ArgumentParser,
) -> None:
    batch = commands.add_parser(
        "batch",
        parents=[connection],
        help="answer a file of requests, as OpenAI's batches have them",
        description="IN is JSON Lines: custom_id, method, url and body in each. OUT has the "
        "answers in the same order, and appears when all are there; the same command goes on "
        "after any end.",
        epilog="example: gpt2 batch requests.jsonl answers.jsonl",
    )
    batch.add_argument("input", metavar="IN", help="the requests")
    batch.add_argument("output", metavar="OUT", help="where the answers go; must not exist yet")
    batch.add_argument("--json", action="store_true", help="print the summary as JSON")
    batch.add_argument(
        "--parallel",
        type=parallel,
        default=PARALLEL,
        metavar="N",
        help="most requests at once (default %(default)s); fewer if the server takes fewer",
    )
    batch.add_argument(
        "--patience",
        type=seconds,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help="how long the service may be away before this gives up (default %(default)s)",
    )
    score = commands.add_parser(
        "score",
        parents=[common],
        help="say how surprising a text is: bits per character, and bits of each word",
        epilog="example: gpt2 score story.txt --format html > story.html",
    )
    score.add_argument("file", metavar="FILE", help="the text, UTF-8; - reads standard input")
    score.add_argument(
        "--format", choices=("table", "json", "html"), default="table", help="default: table"
    )


def _add_management(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    status = commands.add_parser(
        "status",
        parents=[common],
        help="show whether it is up, what is loaded and which workers run",
        epilog="example: gpt2 status my-model",
    )
    scale = commands.add_parser(
        "scale",
        parents=[common],
        help="set the model's number of workers",
        description="Bare TorchServe takes 0 or 1: more would freeze each other's streams.",
        epilog="example: gpt2 scale 2, or gpt2 scale my-model 2",
    )
    register = commands.add_parser(
        "register",
        parents=[common],
        help="load an archive of the model store",
        epilog="example: gpt2 register gpt2-v2.mar",
    )
    register.add_argument("archive", help="its file name in the model store")
    register.add_argument("--workers", type=workers, default=1, metavar="N")
    register.add_argument("--as", dest="registered_as", metavar="NAME", help="its name from now on")
    unregister = commands.add_parser(
        "unregister",
        parents=[common],
        help="unload a version of a model",
        epilog="example: gpt2 unregister my-model, gpt2 unregister my-model 2.0, or "
        "gpt2 unregister 2.0",
    )
    default = commands.add_parser(
        "set-default",
        parents=[common],
        help="choose the version that plain requests get",
        epilog="example: gpt2 set-default 2.0, or gpt2 set-default my-model 2.0",
    )
    for command in (status, scale, unregister, default):
        command.add_argument("name", nargs="?", metavar="MODEL", help="as --model")
    scale.add_argument("workers", type=workers, metavar="WORKERS")
    unregister.add_argument("of_model", nargs="?", metavar="VERSION", help="default: the default")
    default.add_argument("of_model", metavar="VERSION")


def _add_shell(commands: Commands[argparse.ArgumentParser]) -> None:
    completion = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        epilog='bash: eval "$(gpt2 completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; '
        "fish: gpt2 completion fish > ~/.config/fish/completions/gpt2.fish",
    )
    completion.add_argument("shell", choices=SHELLS)
    commands.add_parser(
        "manual", help="print the manual page", epilog="example: gpt2 manual | man -l -"
    )


def _listed(title: str, words: Mapping[str, str]) -> str:
    """Write words and what they mean beside each other, as wide as COLUMNS say."""
    lines = [f"{title}:"]
    for name, text in words.items():
        first = f"  {name}".ljust(MEANING_AT)
        if len(first) > MEANING_AT:
            lines.append(first)
            first = " " * MEANING_AT
        indent = " " * MEANING_AT
        lines += textwrap.wrap(text, _width(), initial_indent=first, subsequent_indent=indent)
    return "\n".join(lines) + "\n"


def _width() -> int:
    return max(MEANING_AT + 20, shutil.get_terminal_size().columns - 2)

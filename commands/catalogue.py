"""The commands, and the dependency groups that each of them needs."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands import docs, image, installing, serve, testing, wheels
from commands.environment import Environment
from commands.errors import CommandError

ROOT = Path(__file__).resolve().parent.parent
USERS = ".venv"  # one for training, packaging, serving
DEVELOPERS = ".venv-dev"
WRONG_TEXT = 1  # as training itself ends

Run = Callable[[argparse.Namespace, Sequence[str], Environment], int]


@dataclass(frozen=True)
class Command:
    """One of them.

    run: Does it; gets the options, the words they were read from, and the environment, a directory
    under the root. options: The module whose `parser()` reads the words, with the standard library
    alone; empty where the words belong to another program.
    """

    purpose: str
    run: Run
    options: str = ""
    environment: str = USERS

    def parser(self) -> argparse.ArgumentParser:
        """Return what reads its command line."""
        parser: argparse.ArgumentParser = importlib.import_module(self.options).parser()
        return parser


def _needs(*groups: str) -> Callable[[argparse.Namespace], Sequence[str]]:
    return lambda _: groups


def _packaging(options: argparse.Namespace) -> Sequence[str]:
    return ("package", "torch") if options.engine == "torch" else ("package",)


def _module(
    name: str, needs: Callable[[argparse.Namespace], Sequence[str]], directory: Path | None = None
) -> Run:
    """Return what installs groups, and then becomes `python -m NAME` with the same words.

    directory: Where that runs, if not where the command was typed.
    """

    def run(options: argparse.Namespace, words: Sequence[str], environment: Environment) -> int:
        installing.ensure(environment, ROOT, needs(options))
        if directory is not None:
            os.chdir(directory)
        os.environ["PYTHONSAFEPATH"] = "1"  # no module of the directory that one stands in
        return environment.replace_this_process(["-m", name, *words])

    return run


def _serve(options: argparse.Namespace, _: Sequence[str], environment: Environment) -> int:
    return serve.run(options, environment)


def _train(options: argparse.Namespace, words: Sequence[str], environment: Environment) -> int:
    # Not above: the image has no such folder.
    from training.errors import TrainingError
    from training.reading.sources import find_sources

    try:  # a slip in a name is told before a gigabyte comes
        find_sources(options.text, lambda _: None)
    except TrainingError as error:
        raise CommandError(str(error), WRONG_TEXT) from None
    # It frees and takes the same large blocks at every step: keep them, in huge pages (glibc).
    os.environ.update(
        MALLOC_TRIM_THRESHOLD_="100000000000", MALLOC_MMAP_MAX_="0", MALLOC_TOP_PAD_="268435456"
    )
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    return _module("training", _needs("train"))(options, words, environment)


def _image(options: argparse.Namespace, _: Sequence[str], environment: Environment) -> int:
    return image.run(options, environment)


def _docs(options: argparse.Namespace, _: Sequence[str], environment: Environment) -> int:
    return docs.run(options, environment)


def _wheels(options: argparse.Namespace, _: Sequence[str], environment: Environment) -> int:
    return wheels.run(options, environment)


def _install(options: argparse.Namespace, _: Sequence[str], environment: Environment) -> int:
    installing.ensure(environment, ROOT, options.groups)
    return 0


def _test(_: argparse.Namespace, words: Sequence[str], environment: Environment) -> int:
    if words[:1] in (["-h"], ["--help"]):
        print(testing.HELP)
        return 0
    _set_up_for_tests(environment)
    return testing.test(words, environment)


def _lint(_: argparse.Namespace, words: Sequence[str], environment: Environment) -> int:
    if words:
        print("usage: lint\n\nStyle and types, over everything.")
        return 0 if words[0] in ("-h", "--help") else 2
    _set_up_for_tests(environment)
    return testing.lint(environment)


def _clients(options: argparse.Namespace, words: Sequence[str], environment: Environment) -> int:
    return _module("strangers", lambda _: installing.ALL_GROUPS, ROOT)(options, words, environment)


def _soak(options: argparse.Namespace, words: Sequence[str], environment: Environment) -> int:
    return _module("soak", lambda _: installing.ALL_GROUPS, ROOT)(options, words, environment)


def _set_up_for_tests(environment: Environment) -> None:
    installing.ensure(environment, ROOT, installing.ALL_GROUPS)
    os.chdir(ROOT)


COMMANDS = {
    "serve": Command("serves a model: page, API, all of it", _serve, "commands.serve"),
    "package": Command(
        "packs a checkpoint into an archive (.mar)",
        _module("archive", _packaging),
        "archive.options",
    ),
    "train": Command("trains, fine-tunes or measures a checkpoint", _train, "training.options"),
    "bench": Command(
        "measures this project and its peers",
        _module("bench", _needs("serve", "package", "bench"), ROOT),
        "bench.options",
    ),
    "clients": Command(
        "runs other people's clients against the served embedded model",
        _clients,
        "strangers.options",
        DEVELOPERS,
    ),
    "soak": Command(
        "serves mixed requests while faults occur, and compares every reply",
        _soak,
        "soak.options",
        DEVELOPERS,
    ),
    "deploy": Command(
        "deploys the service to Google Cloud Run, or deletes it",
        _module("deploy", _needs("deploy"), ROOT),
        "deploy.options",
    ),
    "image": Command(
        "builds the container image, and tests it", _image, "commands.image", DEVELOPERS
    ),
    "docs": Command("builds the documentation as a site", _docs, "commands.docs", DEVELOPERS),
    "wheels": Command(
        "downloads packages for machines without a network", _wheels, "commands.wheels"
    ),
    "install": Command(
        "installs dependency groups, and runs nothing", _install, "commands.installing"
    ),
    "test": Command("runs linter, types and all tests", _test, environment=DEVELOPERS),
    "lint": Command("checks style and types", _lint, environment=DEVELOPERS),
}

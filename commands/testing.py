"""`./scripts/test` and `./scripts/lint`: what must hold, in the developers' environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from commands import processes
from commands.environment import Environment
from commands.terminal import say
from commands.unsteady import run_all

ROOT = Path(__file__).resolve().parent.parent
HELP = """\
usage: test [--coverage] [PYTEST_ARGUMENTS...]

Sets up, then linter, types and all tests, four files at a time (TEST_WORKERS=1: one), since most of
them wait for servers. Up to five that failed run once more, with nothing beside them; those that
pass then are named at the end and in build/tests/unsteady.txt: each is a defect of that test.

  PYTEST_ARGUMENTS  go to pytest, and that is all that runs: ./scripts/test tests/handler -x
  --coverage        measure which lines run, in programs that tests start too (but not in workers
                    of TorchServe, whose environment is built); ends with a table, takes longer
  --help            this text"""
# More than most machines have cores: most tests wait for servers most of the time.
WORKERS = "4"
# By files, since what is set up for one file is shared in it; in the order of their names.
PARALLEL = ("--dist", "loadfile", "--no-loadscope-reorder")


def test(words: Sequence[str], environment: Environment) -> int:
    """Run the tests; return a status of pytest's."""
    measured = "--coverage" in words
    words = [word for word in words if word != "--coverage"]
    if not words and lint(environment):
        return 1
    program = ["-m", "pytest"]
    if measured:
        (ROOT / "build" / "coverage").mkdir(parents=True, exist_ok=True)
        _python(environment, "-m", "coverage", "erase")
        program = ["-m", "coverage", "run", *program]

    def pytest(arguments: Sequence[str]) -> int:
        return _python(environment, *program, *arguments)

    if words:
        status = pytest(words)
    else:
        workers = os.environ.get("TEST_WORKERS", WORKERS)
        status = run_all(pytest, ["-n", workers, *PARALLEL], ROOT / "build" / "tests")
    if measured:
        _python(environment, "-m", "coverage", "combine", "--quiet")
        _python(environment, "-m", "coverage", "report", "--skip-covered", "--sort=cover")
    return status


def lint(environment: Environment) -> int:
    """Check style and types: ruff and mypy over everything, clang-format over the native engine."""
    native = [*ROOT.glob("handler/engine/native/*.[ch]"), *ROOT.glob("tests/handler/native/*.c")]
    # By Python: what pip writes into bin/ names the folder that it was installed in.
    clang_format = "import clang_format; clang_format.clang_format()"
    checks = (
        ("-m", "ruff", "check", "."),
        ("-m", "ruff", "format", "--check", "."),
        ("-m", "mypy"),
        ("-c", clang_format, "--dry-run", "-Werror", *map(str, sorted(native))),
    )
    for check in checks:
        if _python(environment, *check):
            say(f"error: {' '.join(check[:3])} found something")
            return 1
    return 0


def _python(environment: Environment, *arguments: str) -> int:
    """Run it with compiled modules kept out of the sources' folders.

    Where the caller's environment has Python keep none, each of the thousand processes that tests
    start would compile this project anew.
    """
    kept = dict(os.environ, PYTHONPYCACHEPREFIX=str(ROOT / "build" / "pycache"))
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return processes.run([str(environment.python), *arguments], kept)

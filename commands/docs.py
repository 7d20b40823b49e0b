"""`./scripts/docs`: the pages in docs/ and beside it as a site, with their links checked."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands import installing, processes
from commands.environment import Environment
from commands.errors import CommandError
from commands.terminal import say

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("docs",)
SITE = ROOT / "build" / "site"
# Each warning, as of a link that leads nowhere, is an error, and all are shown. All pages are read
# anew: of one that has not changed Sphinx would not repeat its warnings.
STRICT = ("--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env", "--write-all")


def parser() -> argparse.ArgumentParser:
    """The options."""
    result = argparse.ArgumentParser(
        prog="docs",
        description="Makes a site of the documentation, to be read without a network. A link that "
        "leads nowhere, or a page that the navigation lacks, is an error.",
    )
    result.add_argument(
        "--output", type=Path, default=SITE, metavar="DIR", help="where it goes (build/site)"
    )
    return result


def run(options: argparse.Namespace, environment: Environment) -> int:
    """Build it.

    Raises:
        CommandError: Sphinx found something; it has said what.
    """
    output: Path = options.output.resolve()
    installing.ensure(environment, ROOT, GROUPS)
    if build(environment.python, ROOT, output):
        raise CommandError("fix the errors above; the site is incomplete")
    say(f"{output / 'index.html'} is ready")
    return 0


def build(python: Path, root: Path, output: Path) -> int:
    """Have Sphinx turn the pages of a checkout into a site; return its status."""
    command = [str(python), "-m", "sphinx", *STRICT, "--quiet", "--builder", "html"]
    command += ["--conf-dir", str(root / "docs"), "--doctree-dir", str(root / "build" / "doctrees")]
    return processes.run([*command, str(root), str(output)])

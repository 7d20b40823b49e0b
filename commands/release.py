"""Versions: `python -m commands.release notes [VERSION]` and `... cut VERSION`.

`notes` prints what CHANGELOG.md says of a version, as a tag's notes; of what is not released yet by
default. `cut` calls that VERSION, as of today, and writes the version where it stands.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

from commands.errors import CommandError

ROOT = Path(__file__).resolve().parent.parent
UNRELEASED = "Unreleased"
VERSION = re.compile(r"\d+\.\d+\.\d+")
# Where the version stands, as what precedes it.
PLACES = {
    "pyproject.toml": 'version = "',
    "Dockerfile": "ARG VERSION=",
    "client/gpt2_client/__init__.py": '__version__ = "',
    "gateway/__init__.py": '__version__ = "',
    "client/data/share/man/man1/gpt2.1": '"gpt2 ',
}


def notes(changelog: str, version: str) -> str:
    """Return the section of a version, without its heading.

    Raises:
        CommandError: There is none, or it is empty.
    """
    heading = rf"^## {re.escape(version)}(?: \([\d-]+\))?\n(.*?)(?=^## |\Z)"
    found = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise CommandError(f"CHANGELOG.md has no entry for {version}")
    return found[1].strip() + "\n"


def cut(root: Path, version: str, today: datetime.date) -> None:
    """Name what is not released yet, and write the version where it stands.

    Raises:
        CommandError: It is no version, there is nothing to release, or a file has none.
    """
    if not VERSION.fullmatch(version):
        raise CommandError(f"{version!r} is not a version such as 0.2.0")
    page = root / "CHANGELOG.md"
    changelog = page.read_text(encoding="utf-8")
    notes(changelog, UNRELEASED)
    contents = {
        page: changelog.replace(
            f"## {UNRELEASED}\n", f"## {UNRELEASED}\n\n## {version} ({today:%Y-%m-%d})\n", 1
        )
    }
    for name, before in PLACES.items():
        text = (root / name).read_text(encoding="utf-8")
        changed, times = re.subn(
            rf"({re.escape(before)}){VERSION.pattern}", rf"\g<1>{version}", text, count=1
        )
        if not times:
            raise CommandError(f"{name} has no version")
        contents[root / name] = changed
    for path, text in contents.items():
        path.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m commands.release")
    actions = parser.add_subparsers(dest="action", required=True)
    printed = actions.add_parser("notes", help="print what CHANGELOG.md says of a version")
    printed.add_argument("version", nargs="?", default=UNRELEASED)
    named = actions.add_parser("cut", help="call what is not released yet VERSION, as of today")
    named.add_argument("version")
    options = parser.parse_args(arguments)
    try:
        if options.action == "cut":
            cut(ROOT, options.version, datetime.date.today())
        else:
            changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
            print(notes(changelog, options.version), end="")
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())

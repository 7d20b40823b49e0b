"""Sphinx's configuration: Markdown to a site that loads nothing from other sites.

The pages are plain Markdown, as GitHub shows them; links to files of the project become downloads.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
INDEX, RUNBOOKS = "docs/index", "docs/runbooks/README"
SECTION = re.compile(r"^## (.+)$|^- \[[^\]]+\]\(([^)]+)\.md\)", re.MULTILINE)

project = "GPT-2 on TorchServe"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
root_doc = INDEX
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/runbooks/*.md",
    "bench/*.md",
    "models/*/README.md",
    "archive/*/*.md",
]
# Not walked through: environments, and what is built.
exclude_patterns = [".*", "build", "model_store", "tests", "training-runs"]

extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "none"

html_theme = "furo"
html_title = f"{project} {release}"
html_extra_path = ["site"]  # index.html, which leads to that of docs/
html_copy_source = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """Have the navigation made from the index page."""
    app.connect("source-read", _add_navigation)


def _add_navigation(_: Sphinx, page: str, source: list[str]) -> None:
    """Append a table of contents for each section of the index: Sphinx wants them, GitHub not."""
    if page == RUNBOOKS:
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\nGPT2*\n```\n"
    if page != INDEX:
        return
    for heading, target in SECTION.findall(source[0]):
        if heading:
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n```\n"
        else:
            source[0] = source[0].removesuffix("```\n") + f"{target}\n```\n"

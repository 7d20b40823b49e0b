"""Every link from one file of the project to another leads somewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import ROOT, Link, anchors, links, pages


def fault(link: Link) -> str:
    """Return what is wrong with a link, or nothing."""
    path, _, anchor = link.target.partition("#")
    target = (link.page.parent / unquote(path)).resolve() if path else link.page
    if not target.is_relative_to(ROOT):
        return "leads out of the repository"
    if not target.exists():
        return "no such file"
    if anchor and target.suffix == ".md" and unquote(anchor) not in anchors(target):
        return f"{target.name} has no such heading"
    return ""


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_and_anchor_resolves(page: Path) -> None:
    found = [(link.line, link.target, fault(link)) for link in links(page) if fault(link)]
    assert not found


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("README.md", ""),
        ("#a-page", ""),
        ("#a-page-1", ""),
        ("#code--signs", ""),
        ("#by-hand", ""),
        ("nowhere.md", "no such file"),
        ("#nowhere", "page.md has no such heading"),
        ("../../../../etc/passwd", "leads out of the repository"),
    ],
)
def test_broken_links_are_found(tmp_path: Path, target: str, reason: str) -> None:
    page = ROOT / "page.md"  # judged as if it lay there
    text = "# A page\n\n## A *page*\n\n## `Code` & signs\n\n" + '<a id="by-hand"></a>\n'
    (tmp_path / "page.md").write_text(text)
    if target.startswith("#"):
        page = tmp_path / "page.md"
        known = target[1:] in anchors(page)
        assert known == (not reason)
    else:
        assert fault(Link(page, 1, target)) == reason


def test_links_in_html_and_of_images_are_judged_and_code_is_not(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '[a](a.md) ![b](b.png) <img src="c.png"> `[d](d.md)` [e](https://e.example)\n\n'
        "| table |\n|---|\n| [f](f.md#g) |\n\n```\n[h](h.md)\n```\n"
    )
    assert [link.target for link in links(page)] == ["a.md", "b.png", "c.png", "f.md#g"]

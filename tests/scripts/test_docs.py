"""The documentation becomes a site that needs no network, in which every link leads somewhere."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Request

from commands import docs
from tests.docs.pages import ROOT, pages
from tests.page.conftest import browser as browser

pytest.importorskip("sphinx", reason="the group docs is not installed (./scripts/test does it)")
PYTHON = Path(sys.executable)
# Of other rooms, for who looks into those.
NOT_IN_THE_SITE = {"client/README.md", "model_store/README.md", "tests/archive/made/README.md"}
LOADED = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("link", "href")}
# What a style sheet loads; fragments and data lie in the sheet.
LOADED_BY_A_STYLE = re.compile(r"""(?:url\(|@import\s)\s*["']?(?!data:|#)([^"')\s]+)""")
PHONE, DESK = 390, 1280  # pixels


class Html(HTMLParser):
    """The ids of a page, what it loads, and where it leads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif (tag, name) in LOADED and value:
                self.loads.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout."""
    output = tmp_path_factory.mktemp("site")
    assert docs.build(PYTHON, ROOT, output) == 0
    return output


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Html]:
    return {path: Html(path) for path in site.rglob("*.html")}


def is_elsewhere(target: str) -> bool:
    return bool(urlsplit(target).netloc)


def test_every_page_of_the_project_is_in_it(site: Path) -> None:
    names = {page.relative_to(ROOT).as_posix() for page in pages()} - NOT_IN_THE_SITE
    assert {name for name in names if not (site / name).with_suffix(".html").exists()} == set()


def test_it_loads_nothing_from_elsewhere(site: Path, parsed: dict[Path, Html]) -> None:
    loaded = {target for page in parsed.values() for target in page.loads}
    for sheet in site.rglob("*.css"):
        loaded.update(LOADED_BY_A_STYLE.findall(sheet.read_text(encoding="utf-8")))
    assert loaded
    assert {target for target in loaded if is_elsewhere(target)} == set()


def test_every_link_leads_to_a_file_and_a_place_in_it(parsed: dict[Path, Html]) -> None:
    assert list(faults(parsed)) == []


def faults(parsed: dict[Path, Html]) -> Iterator[tuple[str, str]]:
    """Yield the links that lead nowhere."""
    for path, page in parsed.items():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = parsed.get(target)
            lost = known and parts.fragment and unquote(parts.fragment) not in known.ids
            if not target.is_file() or lost:
                yield path.name, link


def test_the_navigation_leads_to_every_page(site: Path, parsed: dict[Path, Html]) -> None:
    index = site / "docs" / "index.html"
    reached = {(index.parent / urlsplit(link).path).resolve() for link in parsed[index].links}
    others = {"genindex.html", "search.html", "index.html"}
    assert {path for path in parsed if path.name not in others} <= reached


@pytest.mark.parametrize(
    "fault",
    ["[lost](nowhere.md)", "[lost](#no-such-heading)", "[lost](page.md#lost)", "![lost](no.png)"],
)
def test_a_link_that_leads_nowhere_is_an_error(
    tmp_path: Path, fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_small_docs(tmp_path, fault)
    assert docs.build(PYTHON, tmp_path, tmp_path / "out") != 0
    assert "docs/index.md" in capfd.readouterr().err


def test_a_page_that_the_navigation_lacks_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_small_docs(tmp_path, "")
    assert docs.build(PYTHON, tmp_path, tmp_path / "out") == 0
    (tmp_path / "docs" / "another.md").write_text("# Another\n")
    assert docs.build(PYTHON, tmp_path, tmp_path / "out") != 0
    assert "another.md" in capfd.readouterr().err


def write_small_docs(root: Path, words: str) -> None:
    """A checkout with this project's configuration of Sphinx, and two pages."""
    (root / "docs" / "site").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "conf.py", root / "docs")
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "docs" / "index.md").write_text(f"# Index\n\n## Pages\n\n- [A](page.md)\n\n{words}\n")
    (root / "docs" / "page.md").write_text("# A page\n")


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_it_is_read_and_searched_from_files(site: Path, browser: Browser, width: int) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        page.on("request", note)
        page.goto((site / "index.html").as_uri())
        page.wait_for_url("**/docs/index.html")
        page.get_by_role("link", name="The gateway").last.click()
        page.wait_for_url("**/docs/gateway.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.goto((site / "search.html").as_uri() + "?q=perplexity")
        page.locator("#search-results a", has_text="Packaging").first.wait_for()
    assert {urlsplit(url).scheme for url in asked} <= {"file", "data", "blob"}

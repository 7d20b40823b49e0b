"""How much the page loads, and how soon it is there, in the browser's own numbers."""

from __future__ import annotations

import re
from pathlib import Path

from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.words_of_page import PAGE

MOST_BYTES = 150_000
# Bytes on the wire, heads of replies included, of everything that the page asked for itself.
TRANSFERRED = """() => ["navigation", "resource"]
    .flatMap((kind) => performance.getEntriesByType(kind))
    .filter(({ initiatorType, name }) => initiatorType !== "fetch" && !name.includes("/v1/"))
    .map(({ name, transferSize }) => [new URL(name).pathname, transferSize])"""


def test_the_page_transfers_less_than_150_kb(open_page: OpenPage, gateway: GatewayProcess) -> None:
    page = open_page(gateway.url)
    page.wait_for_selector("#examples button", state="attached")
    page.evaluate("() => document.fonts.ready")
    sizes = dict(page.evaluate(TRANSFERRED))
    assert "/page/script/main.js" in sizes and "/page/font/literata-latin.woff2" in sizes
    assert all(size > 0 for size in sizes.values()), "what came from a cache proves nothing"
    assert sum(sizes.values()) < MOST_BYTES, sizes


IMPORTED = re.compile(r'^(?:import|export)\b[^;(]*?"(\.[^"]+)";', re.M)


def imported_by(module: Path) -> set[Path]:
    """Every module that has to be there before this one runs."""
    found: set[Path] = set()
    to_read = [module]
    while to_read:
        path = to_read.pop()
        others = {
            (path.parent / match[1]).resolve()
            for match in IMPORTED.finditer(path.read_text(encoding="utf-8"))
        }
        to_read += others - found
        found |= others
    return found


def test_all_modules_are_asked_for_at_once() -> None:
    """Else each would be asked for when the one that imports it has come: six round trips."""
    named = re.findall(
        r'rel="modulepreload" href="page/([^"]+)"', (PAGE / "index.html").read_text()
    )
    needed = imported_by(PAGE / "script" / "main.js")
    assert len(needed) > 40
    assert named == sorted(str(path.relative_to(PAGE)) for path in needed)

"""What axe has against a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.page.conftest import THEMES

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


def axe_finds(page: Page) -> list[tuple[str, ...]]:
    """Theme, rule and element of each violation, in either theme."""
    found = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        for rule in Axe().run(page, options=RULES).response["violations"]:
            found.append((theme, rule["id"], rule["nodes"][0]["html"]))
    return found

"""Pictures of every state at each width in both themes, in build/screens, to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.conftest import ROOT
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.states import STATES, name_of

SCREENS = ROOT / "build" / "screens"
THEMES: list[Literal["light", "dark"]] = ["light", "dark"]
FIX_SEED = "field => { field.value = 11; field.form.elements.fixed.checked = true; }"
# Buttons and lines of words that reach beyond the window, or whose words reach beyond them.
CUT_OFF = """() => [...document.querySelectorAll("button, #notice p, .language, h1, h2, .model")]
    .filter((element) => element.checkVisibility())
    .filter((element) => {
        const box = element.getBoundingClientRect();
        const inside = box.left >= 0 && box.right <= innerWidth;
        return !inside || element.scrollWidth > element.clientWidth + 1;
    })
    .map((element) => element.outerHTML)"""
WIDTHS = {320: 640, 390: 844, 820: 1100, 1440: 900}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reach", STATES, ids=name_of)
def test_nothing_is_cut_off(
    open_page: OpenPage,
    gateway: GatewayProcess,
    reach: Callable[[Page], None],
    width: int,
) -> None:
    viewport = {"width": width, "height": WIDTHS[width]}
    page = open_page(gateway.url, viewport=viewport)
    page.wait_for_selector("#examples button", state="attached")
    page.evaluate("() => document.fonts.ready")
    page.locator("#seed").evaluate(FIX_SEED)
    reach(page)
    SCREENS.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.screenshot(path=SCREENS / f"{name_of(reach)}-{width}-{theme}.png")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    for button in page.locator("#tools button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 24, "too small for a finger"

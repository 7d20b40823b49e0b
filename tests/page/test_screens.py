"""Every state of the page, on desks and phones, in both themes: nothing cut off, nothing for axe.

Pictures of all of them lie in build/screens, to look at.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.page.all_states import STATES, name_of
from tests.page.axe import axe_finds
from tests.page.conftest import SCREENS, THEMES, OpenPage
from tests.page.gateway_process import GatewayProcess

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
# Height by width; the state is reached at the first, and has to bear being made smaller.
DESK = {1440: 900, 820: 1100}
PHONE = {390: 844, 320: 640}


# At one moment: between two looks a button may go, as when a text is complete.
BOXES = """() => [...document.querySelectorAll("#tools button")]
    .filter((button) => button.checkVisibility({ visibilityProperty: true }))
    .map((button) => button.getBoundingClientRect().toJSON())"""


@pytest.mark.parametrize("sizes", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("reach", STATES, ids=name_of)
def test_nothing_is_cut_off_and_axe_finds_nothing(
    open_page: OpenPage,
    gateway: GatewayProcess,
    reach: Callable[[Page], None],
    sizes: dict[int, int],
) -> None:
    viewports = [{"width": width, "height": height} for width, height in sizes.items()]
    # axe is put in by the test itself, past the policy that keeps other scripts out.
    page = open_page(gateway.url, bypass_csp=True, viewport=viewports[0])
    page.wait_for_selector("#examples button", state="attached")
    page.evaluate("() => document.fonts.ready")
    page.locator("#seed").evaluate(FIX_SEED)
    reach(page)
    assert axe_finds(page) == []
    SCREENS.mkdir(parents=True, exist_ok=True)
    for viewport in viewports:
        page.set_viewport_size(viewport)
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.screenshot(path=SCREENS / f"{name_of(reach)}-{viewport['width']}-{theme}.png")
        expect_nothing_cut_off(page, viewport["width"])


def expect_nothing_cut_off(page: Page, width: int) -> None:
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    boxes = page.evaluate(BOXES)
    assert boxes
    for box in boxes:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 24, "too small for a finger"

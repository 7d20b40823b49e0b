"""Pictures of the main states at each width in both themes, in build/screens, to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.page.actions import act, await_offer, set_slider, write
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess

SCREENS = ROOT / "build" / "screens"
THEMES: list[Literal["light", "dark"]] = ["light", "dark"]
FIX_SEED = "field => { field.value = 11; field.form.elements.fixed.checked = true; }"
WIDTHS = {320: 640, 390: 844, 820: 1100, 1440: 900}


def _empty(page: Page) -> None:
    expect(page.locator("#text")).to_have_value("")


def _offered(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)


def _alternatives(page: Page) -> None:
    write(page)
    act(page, "branch")
    expect(page.locator(".choice")).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)


def _certainty(page: Page) -> None:
    set_slider(page, "max_tokens", 60)
    _offered(page)
    page.keyboard.press("Tab")
    act(page, "certainty")
    page.locator("#reading .token").nth(4).hover()


STATES: list[Callable[[Page], None]] = [_empty, _offered, _alternatives, _certainty]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__.strip("_"))
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
        page.screenshot(path=SCREENS / f"{reach.__name__.strip('_')}-{width}-{theme}.png")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    for button in page.locator("#tools button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 24, "too small for a finger"

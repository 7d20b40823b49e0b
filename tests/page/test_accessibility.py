"""For everyone: the keyboard alone, a screen reader, no motion; axe on the API's reference.

What axe finds on the page itself, in every state, is in test_screens.py.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import act, await_offer, set_slider, write
from tests.page.axe import axe_finds
from tests.page.conftest import SCREENS, OpenPage
from tests.page.gateway_process import GatewayProcess


@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_in_the_api_reference(
    open_page: OpenPage, gateway: GatewayProcess, width: int
) -> None:
    viewport = {"width": width, "height": 844}
    page = open_page(f"{gateway.url}docs", bypass_csp=True, viewport=viewport)
    page.get_by_text("/v1/completions", exact=True).click()
    expect(page.locator("details[open] table").first).to_be_visible()
    page.screenshot(path=SCREENS / f"docs-{width}.png")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert axe_finds(page) == []


def test_escape_and_tab_leave_the_text(page: Page) -> None:
    write(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.locator("#text")).not_to_be_focused()


def test_everything_is_reached_with_the_keyboard(page: Page) -> None:
    write(page)
    reached = set()
    page.locator("#theme").focus()
    for _ in range(40):
        reached.add(
            page.evaluate(
                "() => { const e = document.activeElement;return e.dataset.act || e.id || e.name; }"
            )
        )
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
    wanted = {
        "theme",
        "open-settings",
        "text",
        "continue",
        "branch",
        "keep-going",
        "undo",
        "certainty",
        "length",
        "temperature",
        "top-p",
        "seed",
        "fixed",
        "share",
    }
    assert wanted <= reached


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_nothing_with_the_focus_is_behind_the_tools(
    open_page: OpenPage, gateway: GatewayProcess, width: int, height: int
) -> None:
    page = open_page(gateway.url, viewport={"width": width, "height": height})
    page.wait_for_selector("#examples button", state="attached")
    set_slider(page, "max_tokens", 200)
    write(page, "He went on and on.\n" * 15 + "Then the little fox")
    page.keyboard.press("Tab")
    await_offer(page)
    act(page, "certainty")
    page.wait_for_selector("#reading .token")
    page.evaluate("() => scrollTo(0, 0)")
    # One after the other, as the arrow keys do: a leap would be scrolled to the window's middle.
    behind = page.evaluate(
        """() => [...document.querySelectorAll("#reading .token")].filter((word) => {
            word.focus();
            const { top } = document.querySelector(".dock").getBoundingClientRect();
            return word.getBoundingClientRect().bottom > top;
        }).map((word) => word.textContent)"""
    )
    assert behind == []
    assert page.evaluate("() => scrollY") > 0
    dock, card = page.locator(".dock").bounding_box(), page.locator("[data-runners-up]")
    shown = card.bounding_box()
    assert dock is not None
    assert shown is not None
    assert shown["y"] + shown["height"] <= dock["y"], "what the last word could have been is hidden"

    # The tools are always in view: a focus there moves nothing.
    page.evaluate("() => scrollTo(0, 50)")
    page.locator("[data-act=accept]").focus()
    page.keyboard.press("Tab")
    expect(page.locator("[data-act=drop]")).to_be_focused()
    assert page.evaluate("() => scrollY") == 50


def test_a_screen_reader_hears_the_continuation_when_it_is_whole(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    ghost = await_offer(page)
    expect(page.locator("[role=status]")).to_contain_text(ghost.strip())
    expect(page.locator("[role=status]")).to_contain_text("Tab accepts")


def test_without_motion_nothing_blinks(open_page: OpenPage, gateway: GatewayProcess) -> None:
    page = open_page(gateway.url, reduced_motion="reduce")
    animated = "() => document.getAnimations().length"
    write(page)
    page.keyboard.press("Tab")
    assert page.evaluate(animated) == 0


def test_the_theme_can_be_chosen_and_stays(open_page: OpenPage, gateway: GatewayProcess) -> None:
    page = open_page(gateway.url, color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.click("#theme")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")

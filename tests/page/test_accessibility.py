"""For everyone: axe in both themes and every main state, and the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page.actions import act, await_offer, write
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess

THEMES: list[Literal["light", "dark"]] = ["light", "dark"]
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


def _empty(page: Page) -> None:
    page.wait_for_selector("#examples button", state="attached")


def _offered(page: Page) -> None:
    _empty(page)
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)


def _alternatives(page: Page) -> None:
    _empty(page)
    write(page)
    act(page, "branch")
    expect(page.locator(".choice")).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)


def _certainty(page: Page) -> None:
    _offered(page)
    act(page, "certainty")
    page.locator("#reading .token").nth(2).focus()
    expect(page.locator("[data-runners-up]")).to_be_visible()


def _key_dialog(page: Page) -> None:
    _empty(page)
    page.evaluate("() => document.querySelector('#key-dialog').showModal()")


def _notice(page: Page) -> None:
    _empty(page)
    write(page, "a long walk home " * 200)
    page.keyboard.press("Tab")
    expect(page.locator("#notice")).to_be_visible()


STATES: list[Callable[[Page], None]] = [
    _empty,
    _offered,
    _alternatives,
    _certainty,
    _key_dialog,
    _notice,
]


@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__.strip("_"))
def test_axe_finds_nothing_in_either_theme(
    open_page: OpenPage, gateway: GatewayProcess, reach: Callable[[Page], None]
) -> None:
    # axe is put in by the test itself, past the policy that keeps other scripts out.
    page = open_page(gateway.url, bypass_csp=True)
    reach(page)
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        found = Axe().run(page, options=RULES).response["violations"]
        assert not found, [theme, *((rule["id"], rule["nodes"][0]["html"]) for rule in found)]


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

"""A person writes, and GPT-2 goes on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.actions import (
    START,
    act,
    await_offer,
    expect_no_ghost,
    expect_notice,
    ghost_of,
    set_slider,
    text_of,
    write,
)
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.patience import wait_until


def test_one_types_at_once_and_tab_leaves_an_empty_page(page: Page) -> None:
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#text")).not_to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.type(START)
    assert text_of(page) == START


def test_tab_streams_a_continuation_in_behind_the_text(page: Page) -> None:
    page.evaluate(
        """() => {
            window.seen = new Set();
            new MutationObserver(() => window.seen.add(
                document.querySelector("[data-ghost]").textContent
            )).observe(document.querySelector("[data-ghost]"), {childList: true, subtree: true});
        }"""
    )
    set_slider(page, "max_tokens", 120)
    write(page)

    def comes_bit_by_bit() -> bool:
        if ghost_of(page):
            page.keyboard.press("Escape")
            expect_no_ghost(page)
        page.evaluate("window.seen.clear()")
        page.keyboard.press("Tab")
        assert len(await_offer(page).split()) > 20
        assert text_of(page) == START
        return bool(page.evaluate("window.seen.size") > 1)

    # All of it takes a few frames only, and a browser that stands still so long shows it at once.
    wait_until(comes_bit_by_bit)
    color = "element => getComputedStyle(element).color"
    shown, mine = page.locator("[data-ghost]"), page.locator("#text")
    assert shown.evaluate(color) != mine.evaluate(color)


def test_tab_accepts_what_came(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    ghost = await_offer(page)
    page.keyboard.press("Tab")
    expect(page.locator("#text")).to_have_value(START + ghost)
    expect_no_ghost(page)


def test_the_right_arrow_accepts_and_with_control_takes_one_word(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    ghost = await_offer(page)
    first = re.match(r"\s*\S*", ghost)
    assert first is not None
    page.keyboard.press("Control+ArrowRight")
    expect(page.locator("#text")).to_have_value(START + first[0])
    page.keyboard.press("ArrowRight")
    expect(page.locator("#text")).to_have_value(START + ghost)


def test_escape_drops_what_came(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)
    page.keyboard.press("Escape")
    expect(page.locator("[data-act=continue]")).to_be_visible()
    assert text_of(page) == START
    expect_no_ghost(page)


def test_typing_on_replaces_what_came(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)
    page.keyboard.type(" could")
    expect(page.locator("[data-act=continue]")).to_be_visible()
    assert text_of(page) == START + " could"
    expect_no_ghost(page)


def test_a_space_already_typed_is_not_written_twice(page: Page) -> None:
    write(page, START + " ")
    page.keyboard.press("Tab")
    await_offer(page)
    page.keyboard.press("Tab")
    expect(page.locator("[data-act=continue]")).to_be_visible()
    assert text_of(page).startswith(START)
    assert "  " not in text_of(page)


def test_the_buttons_do_what_the_keys_do(page: Page) -> None:
    write(page)
    act(page, "continue")
    await_offer(page)
    act(page, "drop")
    expect_no_ghost(page)
    act(page, "continue")
    ghost = await_offer(page)
    act(page, "accept")
    expect(page.locator("#text")).to_have_value(START + ghost)


def test_another_continuation_can_be_had(page: Page) -> None:
    set_slider(page, "temperature", 1)
    write(page)
    page.keyboard.press("Tab")
    first = await_offer(page)
    act(page, "another")
    page.wait_for_function(
        "first => !document.querySelector('[data-act=another]').disabled && "
        "document.querySelector('[data-ghost]').textContent !== first",
        arg=first,
    )
    assert ghost_of(page) not in ("", first)


def test_one_of_three_alternatives_is_picked_with_its_number(page: Page) -> None:
    write(page)
    act(page, "branch")
    cards = page.locator(".choice-words")
    expect(cards).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)
    ways = cards.all_text_contents()
    assert all(ways)
    assert len(set(ways)) == 3
    page.keyboard.press("2")
    expect(page.locator("#text")).to_have_value(START + ways[1])
    expect(page.locator("#choices")).to_be_hidden()


def test_a_click_on_an_alternative_picks_it(page: Page) -> None:
    write(page)
    act(page, "branch")
    expect(page.locator(".choice")).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)
    third = page.locator(".choice").nth(2)
    words = third.locator(".choice-words").text_content() or ""
    third.click()
    expect(page.locator("#text")).to_have_value(START + words)


def test_it_keeps_going_until_it_is_stopped(page: Page) -> None:
    set_slider(page, "max_tokens", 5)
    write(page)
    act(page, "keep-going")
    # Several pieces of five tokens: it went on by itself.
    page.wait_for_function(
        "start => document.querySelector('#text').value.split(' ').length > "
        "start.split(' ').length + 12",
        arg=START,
    )
    page.keyboard.press("Escape")
    expect(page.locator("[data-act=continue]")).to_be_visible()
    stopped = text_of(page)
    page.wait_for_timeout(500)
    assert text_of(page) == stopped
    act(page, "undo")
    expect(page.locator("#text")).to_have_value(START)


def test_undo_takes_back_step_by_step_and_redo_brings_it_again(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    ghost = await_offer(page)
    page.keyboard.press("Tab")
    expect(page.locator("#text")).to_have_value(START + ghost)
    page.keyboard.press("Control+z")
    expect(page.locator("#text")).to_have_value(START)
    page.keyboard.press("Control+Shift+z")
    expect(page.locator("#text")).to_have_value(START + ghost)
    act(page, "undo")
    expect(page.locator("#text")).to_have_value(START)
    act(page, "undo")
    expect(page.locator("#text")).to_have_value("")


def test_examples_of_the_loaded_model_begin_a_text(page: Page) -> None:
    example = page.locator("#examples button").first
    words = example.text_content() or ""
    example.click()
    expect(page.locator("#text")).to_have_value(words)
    assert await_offer(page)


def test_speed_and_time_to_first_token_are_shown(page: Page) -> None:
    set_slider(page, "max_tokens", 60)
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)
    expect(page.locator("[data-speed]")).to_contain_text(re.compile(r"\d tokens/s"))
    expect(page.locator("[data-speed]")).to_contain_text(re.compile(r"first after \d+ ms"))


def test_a_shared_link_gives_the_same_words(
    page: Page, open_page: OpenPage, gateway: GatewayProcess
) -> None:
    set_slider(page, "temperature", 1.1)
    set_slider(page, "max_tokens", 33)
    write(page)
    page.keyboard.press("Tab")
    ghost = await_offer(page)
    page.keyboard.press("Tab")
    page.click("#share")
    link = page.locator("#link").input_value()
    assert link.startswith(gateway.url + "#")

    other = open_page(link)
    other.wait_for_selector("#examples button", state="attached")
    assert text_of(other) == START
    expect_notice(other, "came with a link")
    other.locator("#text").focus()
    other.keyboard.press("Tab")
    assert await_offer(other) == ghost


def test_a_link_is_copied_from_the_menu(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    write(page)
    page.click("[popovertarget=more]")
    act(page, "share")
    expect_notice(page, "Link copied")
    assert page.evaluate("() => navigator.clipboard.readText()").startswith(page.url + "#text=")


@pytest.mark.parametrize("place", ["menu", "map"])
def test_where_nothing_can_be_copied_the_link_is_shown_on_a_phone_too(
    open_page: OpenPage, gateway: GatewayProcess, place: str
) -> None:
    page = open_page(gateway.url, viewport={"width": 390, "height": 844})
    page.wait_for_selector("#examples button", state="attached")
    # As on an address that is not secure, such as a machine's in a home.
    page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    write(page)
    if place == "menu":
        page.click("[popovertarget=more]")
        act(page, "share")
    else:
        page.click("#open-map")
        page.get_by_role("button", name="Copy a link to the tree").click()
    expect(page.locator("#link")).to_be_in_viewport(ratio=1)
    expect(page.locator("#link")).to_be_focused()
    shown = """() => {
        const { x, y, width, height } = document.querySelector("#link").getBoundingClientRect();
        return document.elementFromPoint(x + width / 2, y + height / 2).id;
    }"""
    assert page.evaluate(shown) == "link"


def test_a_fixed_seed_gives_the_same_words_again(page: Page) -> None:
    page.fill("#seed", "7")
    write(page)
    page.keyboard.press("Tab")
    first = await_offer(page)
    page.keyboard.press("Escape")
    expect_no_ghost(page)
    page.keyboard.press("Tab")
    assert await_offer(page) == first


def test_sliders_say_in_words_what_they_do(page: Page) -> None:
    set_slider(page, "temperature", 0)
    expect(page.locator("#temperature-words")).to_contain_text("Always the most likely word")
    expect(page.locator("#temperature")).to_have_attribute(
        "aria-valuetext", re.compile("^0.00. Always")
    )


def test_the_text_survives_a_reload(page: Page) -> None:
    write(page)
    page.reload()
    expect(page.locator("#text")).to_have_value(START)


def test_a_text_too_long_for_the_model_is_read_from_its_end(page: Page) -> None:
    write(page, (START + " went home. ") * 80)
    page.keyboard.press("Tab")
    expect_notice(page, "longer than the model can read")
    page.click("#notice button")
    assert await_offer(page)


def test_the_page_works_on_a_phone(open_page: OpenPage, gateway: GatewayProcess) -> None:
    phone = open_page(
        gateway.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    phone.wait_for_selector("#examples button")
    phone.locator("#examples button").first.tap()
    assert await_offer(phone)
    phone.locator("[data-act=accept]").tap()
    expect(phone.locator("[data-act=continue]")).to_be_visible()
    phone.locator("#open-settings").tap()
    expect(phone.locator("#length")).to_be_visible()
    phone.locator("#close-settings").tap()
    expect(phone.locator("#length")).to_be_hidden()
    wide = "() => document.documentElement.scrollWidth > innerWidth"
    assert not phone.evaluate(wide)


def test_the_page_works_below_a_path_prefix(open_page: OpenPage, gateway: GatewayProcess) -> None:
    def without_prefix(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace("/below/", "/")))

    page = open_page("about:blank")
    page.route("**/below/**", without_prefix)
    page.goto(gateway.url + "below/")
    page.locator("#examples button").first.click()
    assert await_offer(page)


@pytest.mark.parametrize("height", [720, 800, 1000])
def test_an_empty_page_does_not_scroll(page: Page, height: int) -> None:
    page.set_viewport_size({"width": 1280, "height": height})
    expect(page.locator("#settings")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollHeight") <= height

"""Texts are kept in the browser: as they are written, over reloads, crashes and two tabs."""

from __future__ import annotations

import contextlib
import re

import pytest
from playwright.sync_api import Error, Page, expect

from tests.page.actions import (
    START,
    TREE,
    act,
    await_offer,
    expect_notice,
    keep_now,
    open_shelf,
    row_act,
    set_slider,
    text_of,
    to_the_text,
    write,
)
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.states import HOLD_STREAMS
from tests.patience import wait_until

OTHER = "A second text, about a ship."


def titles(page: Page) -> list[str]:
    return page.locator("#shelf .shelf-title").all_text_contents()


def new_text(page: Page, text: str) -> None:
    open_shelf(page)
    page.get_by_role("button", name="New text").click()
    expect(page.locator("#text")).to_have_value("")
    write(page, text)
    keep_now(page)


def test_many_texts_are_kept_and_opened_again(page: Page) -> None:
    write(page, START)
    keep_now(page)
    set_slider(page, "temperature", 1.3)
    new_text(page, OTHER)
    expect(page.locator("#temperature")).to_have_value("0.7")  # settings are a text's own
    open_shelf(page)
    expect(page.locator("#shelf .shelf-title")).to_have_text([OTHER, START])
    page.locator(".shelf-open").nth(1).click()
    expect(page.locator("#text")).to_have_value(START)
    expect(page.locator("#temperature")).to_have_value("1.3")
    expect(page).to_have_title(re.compile(f"^{START}"))


def test_a_new_tab_opens_the_last_text_where_its_writer_was(page: Page) -> None:
    write(page, START)
    page.evaluate("() => document.querySelector('#text').setSelectionRange(5, 5)")
    page.keyboard.type("!")
    keep_now(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#text")).to_have_value(START[:5] + "!" + START[5:])
    other.wait_for_function("() => document.querySelector('#text').selectionStart === 6")


def test_a_crash_loses_no_more_than_the_last_half_second(page: Page) -> None:
    write(page, START)
    keep_now(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#text")).to_have_value(START)
    with other.expect_event("crash"), contextlib.suppress(Error):
        other.goto("chrome://crash")
    third = page.context.new_page()
    third.goto(page.url)
    expect(third.locator("#text")).to_have_value(START)


def test_words_typed_right_before_a_reload_are_there_after_it(page: Page) -> None:
    write(page, START)
    keep_now(page)
    page.keyboard.type(" and")
    page.reload()
    expect(page.locator("#text")).to_have_value(START + " and")
    page.keyboard.type(" then")
    keep_now(page)
    assert [body["text"] for body in page.evaluate(TREE)["bodies"]] == [START + " and then"]


def test_what_one_tab_writes_the_other_shows(page: Page) -> None:
    write(page, START)
    keep_now(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#text")).to_have_value(START)
    to_the_text(other)
    other.keyboard.press("Control+End")
    other.keyboard.type(" ran")
    expect(page.locator("#text")).to_have_value(START + " ran")
    to_the_text(page)
    page.keyboard.press("Control+End")
    page.keyboard.type(" off")
    expect(other.locator("#text")).to_have_value(START + " ran off")


def test_where_two_tabs_write_at_once_both_are_kept(page: Page) -> None:
    write(page, START)
    keep_now(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#text")).to_have_value(START)
    # Its words wait to be kept when the other's are: no pause of this tab ends.
    page.evaluate(
        """text => {
            const area = document.querySelector("#text");
            window.setTimeout = () => 0;
            area.value = text;
            area.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        START + " here",
    )
    to_the_text(other)
    other.keyboard.press("Control+End")
    other.keyboard.type(" there")
    keep_now(other)
    page.evaluate("() => dispatchEvent(new Event('pagehide'))")
    expect_notice(page, "changed in another tab too")
    both = {START + " here", START + " there"}
    wait_until(lambda: {body["text"] for body in page.evaluate(TREE)["bodies"]} == both)
    assert text_of(page) == START + " here"
    page.get_by_role("button", name="Show the other").click()
    expect(page.locator("#text")).to_have_value(START + " there")


def test_every_continuation_and_every_dropped_one_is_a_branch(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    first = await_offer(page)
    page.keyboard.press("Escape")
    act(page, "branch")
    expect(page.locator(".choice-words")).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)
    ways = page.locator(".choice-words").all_text_contents()
    page.keyboard.press("2")
    expect(page.locator("#text")).to_have_value(START + ways[1])
    keep_now(page)
    branches = page.evaluate(TREE)["branches"]
    by_model = {branch["added"]: branch for branch in branches if branch["by"] == "model"}
    assert set(by_model) == {first, *ways}
    assert [way for way in by_model if by_model[way]["state"] == "taken"] == [ways[1]]
    made = by_model[ways[1]]["made"]
    assert made["n"] == 3 and made["index"] == 1 and len(made["digest"]) == 64
    assert made["settings"]["temperature"] == 0.7 and made["seed"] >= 0


def test_how_sure_it_was_survives_a_reload(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)
    page.keyboard.press("Tab")
    keep_now(page)
    act(page, "certainty")
    page.wait_for_selector("#reading .token")
    words = page.locator("#reading .token").all_text_contents()
    assert words
    page.reload()
    page.wait_for_selector("[data-act=certainty]:visible")
    act(page, "certainty")
    expect(page.locator("#reading .token")).to_have_text(words)
    page.locator("#reading .token").first.hover()
    expect(page.locator("[data-runners-up] li")).to_have_count(5)


def test_texts_are_found_by_any_of_their_words(page: Page) -> None:
    write(page, "One line.\n" * 50 + "The Albatross came.")
    keep_now(page)
    new_text(page, OTHER)
    open_shelf(page)
    page.get_by_role("searchbox").fill("albaTROSS")
    expect(page.locator("#shelf .shelf-title")).to_have_text(["One line."])
    page.get_by_role("searchbox").fill("neither of them")
    expect(page.locator("#shelf")).to_contain_text("No text has these words.")


def test_a_text_is_named_and_doubled(page: Page) -> None:
    write(page)
    keep_now(page)
    open_shelf(page)
    row_act(page, START, "rename")
    page.keyboard.type("The fox")
    page.keyboard.press("Enter")
    expect(page.locator("#shelf .shelf-title")).to_have_text(["The fox"])
    row_act(page, "The fox", "double")
    expect(page.locator("#shelf .shelf-title")).to_have_count(2)
    assert set(titles(page)) == {"The fox", "The fox (copy)"}


def test_the_trash_gives_back_what_was_thrown_away(page: Page) -> None:
    write(page)
    keep_now(page)
    new_text(page, OTHER)
    open_shelf(page)
    row_act(page, OTHER, "trash")
    expect(page.locator("#text")).to_have_value(START)
    expect(page.locator("#shelf")).to_contain_text("Trash (1)")
    page.get_by_role("button", name="Undo").last.click()
    expect(page.locator("#shelf .shelf-title")).to_have_text([OTHER, START])
    row_act(page, OTHER, "trash")
    page.locator(".shelf-trash summary").click()
    page.get_by_role("button", name="Empty the trash").click()
    page.get_by_role("button", name="Delete for good").last.click()
    expect(page.locator(".shelf-trash")).to_be_hidden()
    assert [text["beginning"] for text in page.evaluate(TREE)["texts"]] == [START]


def test_a_browser_that_keeps_nothing_says_so_and_the_page_works(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page("about:blank")
    page.add_init_script(
        "Object.defineProperty(window, 'indexedDB', { get() { return undefined } })"
    )
    page.goto(gateway.url)
    page.wait_for_selector("#examples button", state="attached")
    write(page)
    expect_notice(page, "stores nothing for this page")
    page.keyboard.press("Tab")
    assert await_offer(page)
    open_shelf(page)
    expect(page.locator("#shelf")).to_contain_text("stores nothing for this page")


def test_a_browser_that_has_no_room_says_so_and_keeps_the_text_once_there_is(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page("about:blank")
    # Before the page is there: how much room there is the browser asks itself every other minute.
    room = page.context.new_cdp_session(page)
    origin = gateway.url.rstrip("/")
    room.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 1})
    page.goto(gateway.url)
    page.wait_for_selector("#examples button", state="attached")
    write(page)
    expect_notice(page, "no space left")
    room.send("Storage.overrideQuotaForOrigin", {"origin": origin})
    page.keyboard.type(" and")
    keep_now(page)
    assert [body["text"] for body in page.evaluate(TREE)["bodies"]] == [START + " and"]


def test_a_text_that_another_tab_took_away_for_good_goes_on_where_it_is_written(page: Page) -> None:
    write(page)
    keep_now(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#text")).to_have_value(START)
    open_shelf(other)
    row_act(other, START, "trash")
    other.locator(".shelf-trash summary").click()
    other.get_by_role("button", name="Empty the trash").click()
    other.get_by_role("button", name="Delete for good").last.click()
    expect(other.locator(".shelf-trash")).to_be_hidden()
    to_the_text(page)
    page.keyboard.press("Control+End")
    page.keyboard.type(" ran")
    keep_now(page)
    assert [body["text"] for body in page.evaluate(TREE)["bodies"]] == [START + " ran"]
    expect(page.locator("#notice")).not_to_contain_text("changed in another tab")


def test_texts_are_kept_after_the_browsers_data_was_cleared(page: Page) -> None:
    write(page)
    page.keyboard.press("Tab")
    offered = await_offer(page)
    page.keyboard.press("Tab")
    keep_now(page)
    branches = page.evaluate(TREE)["branches"]
    page.evaluate("""() => new Promise((done, failed) => {
        const asked = indexedDB.deleteDatabase("go-on");
        asked.onsuccess = done;
        asked.onerror = asked.onblocked = failed;
    })""")
    page.keyboard.type(" ran")
    keep_now(page)
    stored = page.evaluate(TREE)
    assert [body["text"] for body in stored["bodies"]] == [START + offered + " ran"]
    assert [branch["added"] for branch in stored["branches"]][:2] == [
        branch["added"] for branch in branches
    ]


def test_an_older_page_beside_a_newer_one_says_that_it_keeps_nothing(page: Page) -> None:
    write(page)
    keep_now(page)
    page.evaluate("""() => new Promise((done, failed) => {
        const asked = indexedDB.open("go-on", 1000);
        asked.onsuccess = () => { asked.result.close(); done(); };
        asked.onerror = asked.onblocked = failed;
    })""")
    page.keyboard.type(" ran")
    expect_notice(page, "newer version of this page")
    assert text_of(page) == START + " ran"


@pytest.mark.parametrize("how", ["reload", "crash"])
def test_what_was_taken_is_there_after_an_end_in_the_middle_of_a_stream(
    page: Page, how: str
) -> None:
    set_slider(page, "max_tokens", 60)
    write(page)
    page.evaluate(HOLD_STREAMS)
    act(page, "continue")
    page.wait_for_function("() => document.querySelector('[data-ghost]').textContent.length > 20")
    keep_now(page)
    context, url = page.context, page.url
    if how == "crash":
        with page.expect_event("crash"), contextlib.suppress(Error):
            page.goto("chrome://crash")
        page = context.new_page()
        page.goto(url)
    else:
        page.reload()
    expect(page.locator("#text")).to_have_value(START)
    page.wait_for_selector("#examples button", state="attached")
    to_the_text(page)
    page.keyboard.press("Tab")
    assert await_offer(page)

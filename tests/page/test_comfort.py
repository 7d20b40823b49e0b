"""Presets, looks, counts, find and replace, reading aloud, a first visit, either direction."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import (
    START,
    act,
    await_offer,
    expect_no_ghost,
    set_slider,
    text_of,
    to_the_text,
    write,
)
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.states import open_look

# Where the caret's line and the text's mirror stand, in the window.
PLACE_OF = """text => {
    const walker = document.createTreeWalker(document.querySelector(".mirror"), 4);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const at = node.data.indexOf(text);
        if (at < 0) continue;
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + text.length);
        return range.getBoundingClientRect().toJSON();
    }
}"""
MARKED = "name => [...CSS.highlights.get(name) ?? []].map((range) => range.toString())"
# The browser of the tests has no voices: what it is asked to say is noted, and never ends.
NOTE_SPEECH = """
    window.said = [];
    speechSynthesis.speak = (speech) => said.push(speech.text);
    speechSynthesis.cancel = () => { said = []; };
"""


def test_a_preset_sets_the_manner_and_its_own_is_the_models(page: Page) -> None:
    temperature = page.locator("[name=temperature]")
    own = temperature.input_value()
    page.click("[data-preset=wild]")
    expect(page.locator("[data-preset=wild]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-preset-words]")).to_contain_text("being stuck")
    assert float(temperature.input_value()) == 1.3
    write(page)
    with page.expect_request("**/v1/completions") as sent:
        page.keyboard.press("Tab")
    assert json.loads(sent.value.post_data or "")["temperature"] == 1.3
    set_slider(page, "temperature", 0.35)
    expect(page.locator("[data-presets] [aria-pressed=true]")).to_have_count(0)
    page.click("[data-preset=own]")
    expect(temperature).to_have_value(own)


def test_letters_and_lines_are_as_large_as_was_chosen_and_stay_so(page: Page) -> None:
    write(page)
    # An empty page has larger letters, until the next frame.
    expect(page.locator("body.is-empty")).to_have_count(0)
    size = "() => parseFloat(getComputedStyle(document.querySelector('#text')).fontSize)"
    before, width = page.evaluate(size), page.locator("#text").bounding_box()
    open_look(page)
    set_slider(page, "size", 1.5)
    set_slider(page, "width", 30)
    assert page.evaluate(size) == pytest.approx(1.5 * before)
    box = page.locator("#text").bounding_box()
    assert width is not None
    assert box is not None
    assert box["width"] < width["width"]
    page.reload()
    expect(page.locator("#size")).to_have_value("1.5")
    expect(page.locator("body.is-empty")).to_have_count(0)
    assert page.evaluate(size) == pytest.approx(1.5 * before)


def test_the_typewriters_line_stays_where_it_is(page: Page) -> None:
    write(page, "He went on.\n" * 60)
    page.click("[popovertarget=more]")
    page.click("[data-act=typewriter]")
    to_the_text(page)
    page.keyboard.press("Control+End")
    tops = []
    for line in range(3):
        page.keyboard.insert_text(f"line number {line}")
        # Drawn in the next frame at the latest.
        page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))"
        )
        tops.append(page.evaluate(PLACE_OF, f"line number {line}")["top"])
        page.keyboard.press("Enter")
    assert max(tops) - min(tops) < 4
    assert 200 < tops[0] < 600


def test_focus_leaves_one_paragraph_in_the_foreground(page: Page) -> None:
    write(page, "The first one.\nThe second one.\nThe third one.")
    page.click("[popovertarget=more]")
    page.click("[data-act=focus]")
    here = page.locator(".mirror .is-here")
    expect(here).to_have_text("The third one.")
    to_the_text(page)
    page.keyboard.press("ArrowUp")
    expect(here).to_have_text("The second one.")
    page.click("[popovertarget=more]")
    page.click("[data-act=focus]")
    expect(here).to_have_count(0)


def test_words_are_counted_of_all_and_of_what_is_selected(page: Page) -> None:
    write(page, "One two three.\nDon't count marks -- or five.")
    expect(page.locator("#count")).to_have_text("8 words")
    page.keyboard.press("Shift+Home")
    expect(page.locator("#count")).to_have_text("5 of 8 words")


def test_find_goes_from_match_to_match_and_replace_is_one_step(page: Page) -> None:
    text = "Tom had a kite. A kite is red. KITE!"
    write(page, text)
    page.keyboard.press("Control+h")
    page.fill("[name=find]", "kite")
    said = page.locator(".find-said")
    # From the caret on, which is at the end: so around, to the first.
    expect(said).to_have_text("1 of 3")
    assert page.evaluate(MARKED, "found-here") == ["kite"]
    page.keyboard.press("Enter")
    expect(said).to_have_text("2 of 3")
    page.check("[name=case]")
    expect(said).to_have_text("2 of 2")
    page.fill("[name=replace]", "$& <b>dog</b>")
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.locator("#text")).to_have_value(
        "Tom had a $& <b>dog</b>. A $& <b>dog</b> is red. KITE!"
    )
    page.keyboard.press("Escape")
    expect(page.locator(".find")).to_be_hidden()
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("Control+z")
    expect(page.locator("#text")).to_have_value(text)


def test_find_takes_what_is_selected_and_leaves_the_match_selected(page: Page) -> None:
    write(page, "a.b a+b a.b")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Control+h")
    expect(page.locator("[name=find]")).to_have_value("a.b")
    expect(page.locator(".find-said")).to_have_text("1 of 2")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelector('#text').selectionStart === 8")


def test_a_match_far_away_comes_into_view(page: Page) -> None:
    write(page, "needle\n" + "hay\n" * 200)
    page.keyboard.press("Control+h")
    page.fill("[name=find]", "needle")
    page.wait_for_function("() => scrollY < 200")


def test_the_text_is_read_aloud_from_the_caret_on(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page(gateway.url)
    page.evaluate(NOTE_SPEECH)
    write(page, "The first one.\n\nThe second one.")
    page.click("[popovertarget=more]")
    page.click("[data-act=aloud]")
    expect(page.locator("[data-act=aloud]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("said") == ["The first one.", "The second one."]
    page.click("[popovertarget=more]")
    page.click("[data-act=aloud]")
    expect(page.locator("[data-act=aloud]")).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("said") == []
    to_the_text(page)
    page.keyboard.press("Home")
    page.click("[popovertarget=more]")
    page.click("[data-act=aloud]")
    expect(page.locator("[data-act=aloud]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("said") == ["The second one."]


def test_a_first_visit_teaches_by_doing_and_once(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page(gateway.url, is_taught=False)
    lesson = page.locator(".lesson")
    expect(lesson).to_contain_text("1 of 3")
    write(page)
    expect(lesson).to_contain_text("2 of 3")
    expect(lesson).to_contain_text("Tab")
    page.keyboard.press("Tab")
    await_offer(page)
    expect(lesson).to_contain_text("3 of 3")
    page.keyboard.press("Tab")
    expect_no_ghost(page)
    expect(lesson).to_contain_text("That is all")
    # Whoever writes on has read it.
    page.keyboard.type(" and")
    expect(lesson).to_have_count(0)
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.reload()
    page.wait_for_selector("#examples button", state="attached")
    expect(lesson).to_have_count(0)


def test_texts_of_the_right_hand_stand_there_and_go_on_there(page: Page) -> None:
    write(page, "שלום עולם\nHello world\nעוד שורה")
    expect(page.locator(".mirror")).to_contain_text("עוד שורה")  # with the next frame
    window = page.locator("#text").bounding_box()
    assert window is not None
    edges = [page.evaluate(PLACE_OF, line) for line in ("שלום עולם", "Hello world", "עוד שורה")]
    right = window["x"] + window["width"]
    assert abs(edges[0]["right"] - right) < 2
    assert abs(edges[1]["left"] - window["x"]) < 2
    assert abs(edges[2]["right"] - right) < 2
    act(page, "continue")
    await_offer(page)
    act(page, "accept")
    assert text_of(page).startswith("שלום עולם\n")


def test_how_sure_it_was_has_each_paragraph_where_its_letters_begin(page: Page) -> None:
    write(page, "שלום עולם\nHello world")
    act(page, "certainty")
    page.click("#survey-read")
    expect(page.locator(".survey-weight")).to_be_visible()
    frame = page.locator("#reading [data-text]").bounding_box()
    words = page.locator("#reading .token").filter(has_text="world").bounding_box()
    assert frame is not None and words is not None
    assert words["x"] < frame["x"] + frame["width"] / 2


def test_the_text_and_what_lies_behind_it_break_their_lines_alike(page: Page) -> None:
    write(page, (START + " went home. ") * 20 + "\n" + "שלום עולם " * 60)
    # What lies behind it is drawn with the next frame.
    page.wait_for_function("""() => {
        const area = document.querySelector("#text");
        const mirror = document.querySelector(".mirror");
        area.style.setProperty("height", "0");
        const needed = area.scrollHeight;
        area.style.removeProperty("height");
        return Math.abs(needed - mirror.getBoundingClientRect().height) < 3;
    }""")

"""What the model reads besides the text, and what it is told of words, forms and lengths."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import (
    START,
    act,
    await_offer,
    expect_notice,
    keep_now,
    text_of,
    to_the_text,
    write,
)
from tests.page.states import open_guidance

MEMORY = "Tom is a small boy who has a red kite."
NOTE = "It is a very rainy day."
LINES = "\n".join(f"This is line {n} of a long day." for n in range(1, 8))
TOKENIZE = """async text => (await (await fetch("v1/tokenize", {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ text }),
})).json()).tokens"""
MARKED = """() => {
    const mark = document.querySelector(".mark-forgets");
    const range = document.createRange();
    range.setStart(document.querySelector("[data-mirror]"), 0);
    range.setEndBefore(mark);
    const paragraphs = [...document.querySelectorAll("[data-mirror] > span")];
    const before = paragraphs.findIndex((paragraph) => paragraph.contains(mark));
    // Between two paragraphs of the mirror the text has a line break; an empty one holds a filler.
    return range.toString().replaceAll("\u200b", "").length + before;
}"""


def asked_by(page: Page, do: Callable[[], Any]) -> dict[str, Any]:
    """Return the body of the completion that an act asks for."""
    with page.expect_request("**/v1/completions") as sent:
        do()
    body: dict[str, Any] = json.loads(sent.value.post_data or "")
    return body


def continue_(page: Page) -> dict[str, Any]:
    to_the_text(page)
    return asked_by(page, lambda: page.keyboard.press("Control+Enter"))


def test_notes_are_read_and_are_no_part_of_the_text(page: Page) -> None:
    write(page, LINES)
    open_guidance(page, "notes")
    page.fill("#memory", MEMORY)
    page.fill("#note", NOTE)
    prompt = continue_(page)["prompt"]
    assert prompt.startswith(MEMORY + "\n\nThis is line 1")
    lines = prompt.split("\n")
    assert lines[-4] == NOTE
    assert prompt.replace(MEMORY + "\n\n", "").replace(NOTE + "\n", "") == LINES
    assert await_offer(page)
    assert text_of(page) == LINES
    keep_now(page)
    page.reload()
    expect(page.locator("#memory")).to_have_value(MEMORY)
    page.click("#open-shelf")
    page.get_by_role("button", name="New text").click()
    expect(page.locator("#memory")).to_have_value("")


def test_a_long_text_gives_way_to_the_notes(page: Page) -> None:
    write(page, "He walked on and on. " * 200 + "The end of it")
    open_guidance(page, "notes")
    page.fill("#memory", MEMORY)
    page.fill("#note", NOTE)
    continue_(page)
    expect_notice(page, "longer than the model can read")
    prompt = asked_by(page, lambda: page.click("text=Read only the end of it"))["prompt"]
    assert prompt.startswith(MEMORY)
    assert NOTE in prompt
    assert prompt.endswith("The end of it")
    assert await_offer(page)
    models = page.evaluate("async () => (await fetch('v1/models')).json()")
    context = models["data"][0]["context_length"]
    assert len(page.evaluate(TOKENIZE, prompt)) <= context - 20


def test_the_meter_counts_what_is_read_and_the_mark_says_where_that_begins(page: Page) -> None:
    write(page)
    meter = page.locator("#meter")
    count = len(page.evaluate(TOKENIZE, START))
    expect(meter).to_have_attribute("aria-valuenow", str(count))
    expect(page.locator(".mark-forgets")).to_have_count(0)
    open_guidance(page, "notes")
    page.fill("#memory", MEMORY)
    both = count + len(page.evaluate(TOKENIZE, MEMORY))
    expect(meter).to_have_attribute("aria-valuenow", str(both))
    page.fill("#memory", "")
    write(page, " went on.\n\nAnd so it was that he" * 150)
    expect(page.locator(".mark-forgets")).to_have_count(1)
    context = int(meter.get_attribute("aria-valuemax") or 0)
    read = text_of(page)[page.evaluate(MARKED) :]
    # The service keeps room for the 20 tokens that are to come.
    assert context - 20 - 6 <= len(page.evaluate(TOKENIZE, read)) <= context - 20
    assert not read.startswith(" ")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    expect(page.locator(".mark-forgets")).to_have_count(0)
    expect(meter).to_be_hidden()


def ghost_words(ghost: str) -> list[str]:
    return re.findall(r"[a-z]{3,}", ghost.lower())


def test_a_banned_word_does_not_come(page: Page) -> None:
    page.locator("#seed").fill("5")
    write(page)
    continue_(page)
    word = ghost_words(await_offer(page))[0]
    page.keyboard.press("Escape")
    open_guidance(page, "words")
    page.fill("[name=word]", word)
    page.keyboard.press("Enter")
    expect(page.locator(".word-list li")).to_contain_text("never")
    assert {word, word.capitalize()} <= set(continue_(page)["bad_words"])
    assert word not in ghost_words(await_offer(page))


def test_a_word_of_several_tokens_is_not_said_to_be_weighed(page: Page) -> None:
    open_guidance(page, "words")
    page.fill("[name=word]", "quantummarmalade")
    page.select_option("[name=leaning]", "2")
    page.click("[data-add]")
    expect(page.locator("[data-words-said]")).to_contain_text("several tokens")
    expect(page.locator(".word-list li")).to_have_count(0)
    page.select_option("[name=leaning]", "never")
    page.click("[data-add]")
    expect(page.locator(".word-list li")).to_have_count(1)


def test_a_word_of_the_card_is_weighed_and_that_is_kept(page: Page) -> None:
    write(page)
    continue_(page)
    await_offer(page)
    page.keyboard.press("Control+Enter")
    act(page, "certainty")
    page.locator("#reading .token").nth(1).focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    row = page.locator("[data-runners-up] li:focus-within")
    if "less" not in (row.locator("button:focus").get_attribute("aria-label") or ""):
        row.get_by_role("button", name="less often").focus()
    page.keyboard.press("Enter")
    expect(row.locator(".runner-leaning")).to_have_text("less often")
    row.get_by_role("button", name="more often").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(row.locator(".runner-leaning")).to_have_text("more often")
    expect(page.locator(".word-list li")).to_have_count(1)
    page.keyboard.press("Escape")
    act(page, "certainty")
    bias = continue_(page)["logit_bias"]
    assert list(bias.values()) == [2]
    await_offer(page)
    keep_now(page)
    page.reload()
    expect(page.locator(".word-list li")).to_have_count(1)


@pytest.mark.parametrize("count", [1, 2])
def test_a_continuation_ends_with_its_sentences(page: Page, count: int) -> None:
    write(page)
    page.select_option("[name=unit]", "sentence")
    page.locator("[name=count]").fill(str(count))
    continue_(page)
    ghost = await_offer(page)
    assert re.search(r"[.!?][\"']*$", ghost), ghost
    assert len(re.findall(r"[.!?][\"']*(?=\s|$)", ghost)) == count
    page.keyboard.press("Escape")
    act(page, "branch")
    expect(page.locator(".choice")).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)
    for words in page.locator("[data-words]").filter(visible=True).all_text_contents():
        assert re.search(r"[.!?]", words)


def test_a_continuation_ends_with_its_paragraph(page: Page) -> None:
    write(page)
    page.select_option("[name=unit]", "paragraph")
    continue_(page)
    assert "\n" not in await_offer(page)


def test_a_rhyme_is_kept(page: Page) -> None:
    page.locator("#length").fill("80")
    write(page)
    open_guidance(page, "form")
    page.select_option("#form", "rhyme")
    page.fill("#pattern", "day, away")
    continue_(page)
    lines = await_offer(page).split("\n")[1:]
    assert len(lines) == 2
    assert all(re.search(r" (day|away)[.,!?;]?$", line) for line in lines)


@pytest.mark.parametrize("form", ["rhyme", "own"])
def test_a_form_that_lacks_its_words_says_so(page: Page, form: str) -> None:
    open_guidance(page, "form")
    said = page.locator("[data-form-words]")
    page.select_option("#form", form)
    expect(said).to_contain_text("until then the form is free")
    page.fill("#pattern", "day, away")
    expect(said).to_contain_text("cut before its form is complete")


def test_a_pattern_that_is_none_is_refused_in_words(page: Page) -> None:
    write(page)
    open_guidance(page, "form")
    page.select_option("#form", "own")
    page.fill("#pattern", "(")
    continue_(page)
    expect_notice(page, "guided_regex")


def test_a_link_has_notes_and_words_with_it(page: Page) -> None:
    write(page)
    open_guidance(page, "notes")
    page.fill("#memory", MEMORY)
    page.click("#share")
    expect(page.locator("#link")).to_be_visible()
    link = page.locator("#link").input_value()
    other = page.context.new_page()
    other.goto(link)
    expect(other.locator("#memory")).to_have_value(MEMORY)
    expect(other.locator("#text")).to_have_value(START)


def test_hostile_guidance_of_a_link_is_text(page: Page) -> None:
    besides = {
        "memory": "<img src=x onerror=alert(1)>",
        "words": [{"text": "<b>x", "by": "never"}, 5, {"text": 3}],
        "form": "no such",
        "pattern": 7,
        "until": "<b>",
        "count": "x",
    }
    fields = urlencode({"text": START, "seed": 7, "with": json.dumps(besides)})
    page.goto(f"{page.url}#{fields}")
    expect(page.locator("#memory")).to_have_value("<img src=x onerror=alert(1)>")
    expect(page.locator(".word-list .word")).to_have_text("<b>x")
    assert page.locator(".word-list b").count() == 0
    assert "guided_regex" not in continue_(page)
    assert await_offer(page)


def test_what_was_said_a_moment_before_a_reload_is_there_after_it(page: Page) -> None:
    write(page)
    keep_now(page)
    open_guidance(page, "notes")
    page.fill("#memory", MEMORY)
    page.reload()
    expect(page.locator("#memory")).to_have_value(MEMORY)
    page.reload()
    expect(page.locator("#memory")).to_have_value(MEMORY)

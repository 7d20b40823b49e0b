"""Reading with the model: how surprising any text is to it, word by word."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import act, write

ODD = "Quantum chromodynamics forbids marmalade. "
TEXT = "He went home to his mother and said good night. " * 4 + ODD
SURVEY = """async ([text, context]) => {
    const { survey, weigh } = await import("/page/script/survey/survey.js");
    const { Service } = await import("/page/script/service.js");
    const tokens = await survey(text, { service: new Service(() => null), context, ranked: 2 });
    return {
        text: tokens.map(({ start, end }) => text.slice(start, end)).join(""),
        unknown: tokens.filter(({ logprob }) => logprob === null).length,
        values: tokens.map(({ logprob }) => logprob),
        bits: weigh(tokens).perCharacter,
    };
}"""
SCORE = """async text => {
    const request = { prompt: text, echo: true, logprobs: 0, max_tokens: 0 };
    const reply = await fetch("v1/completions", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(request),
    });
    return (await reply.json()).choices[0].logprobs.token_logprobs;
}"""


def read_all(page: Page) -> None:
    act(page, "certainty")
    page.click("#survey-read")
    expect(page.locator(".survey-weight")).to_be_visible()


def test_the_writers_own_words_are_shaded_and_weighed(page: Page) -> None:
    write(page, TEXT)
    read_all(page)
    expect(page.locator(".survey-weight")).to_contain_text("bits per character")
    expect(page.locator("#survey").get_by_role("img")).to_be_visible()
    # It stands alone, so it takes the whole width.
    widths = [page.locator(one).bounding_box() for one in (".survey-curve", "#survey")]
    assert widths[0] is not None and widths[1] is not None
    assert widths[0]["width"] == pytest.approx(widths[1]["width"], abs=1)
    passage = page.locator(".survey-passages button").first
    assert (passage.text_content() or "").split()[0] in "He " + ODD
    passage.click()
    focused = page.evaluate("() => document.activeElement.className")
    assert "token" in focused
    # What else it weighed can be gone on with, here too.
    expect(page.locator("[data-runners-up]")).to_be_visible()


def test_the_surprising_sentence_is_found(page: Page) -> None:
    write(page, TEXT)
    read_all(page)
    words = page.locator(".survey-passages button").first.text_content() or ""
    assert any(word in words for word in ODD.split())


def test_two_texts_stand_side_by_side(page: Page) -> None:
    write(page, TEXT)
    read_all(page)
    page.locator(".survey-other summary").click()
    page.get_by_label("Another text").fill("The little fox ran. The little fox ran home.")
    page.get_by_role("button", name="Read it", exact=True).click()
    expect(page.locator(".survey-weight")).to_have_count(2)


def test_another_text_is_no_more_shaded_by_what_was_read_of_the_last(page: Page) -> None:
    write(page, TEXT)
    read_all(page)
    act(page, "certainty")
    write(page, " And")
    act(page, "certainty")
    expect(page.locator("#reading .token")).to_have_count(0)
    expect(page.locator("#survey")).to_be_hidden()
    expect(page.locator("#survey-read")).to_be_visible()


def test_it_says_what_the_service_says(page: Page) -> None:
    text = "The little fox went out to see the sea."
    wanted = page.evaluate(SCORE, text)
    read = page.evaluate(SURVEY, [text, 512])
    assert read["values"][0] is None
    assert read["values"][1:] == pytest.approx(wanted[1:], abs=1e-9)


@pytest.mark.parametrize("context", [16, 512])
def test_a_text_of_any_length_and_letters_is_read_whole(page: Page, context: int) -> None:
    text = "The little f\u00f6x \U0001f98a went out. \u0421\u043d\u0435\u0433!\n\n" * 6 + "\u732b"
    read = page.evaluate(SURVEY, [text, context])
    assert read["text"] == text
    assert read["unknown"] == 1
    assert read["bits"] > 0

"""How sure the model was of each token, and what else it weighed."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.page.actions import START, act, await_offer, text_of, to_the_text, write


def _look(page: Page) -> str:
    write(page)
    page.keyboard.press("Tab")
    ghost = await_offer(page)
    page.keyboard.press("Tab")
    act(page, "certainty")
    expect(page.locator("#reading")).to_be_visible()
    return ghost


def test_each_token_of_the_model_is_shaded_by_its_probability(page: Page) -> None:
    ghost = _look(page)
    words = page.locator("#reading .token")
    expect(page.locator("#reading [data-text]")).to_have_text(START + ghost)
    assert "".join(words.all_text_contents()).replace(" ", "") == ghost.replace(" ", "")
    shades = {
        re.sub(r".*doubt-(\d).*", r"\1", word.get_attribute("class") or "") for word in words.all()
    }
    assert len(shades) > 1, "every token has the same shade"
    expect(words.first).to_have_attribute("aria-label", re.compile(r", .*\d %"))


def test_runners_up_appear_on_hover_and_on_focus(page: Page) -> None:
    _look(page)
    card = page.locator("[data-runners-up]")
    page.locator("#reading .token").nth(3).hover()
    expect(card).to_be_visible()
    assert card.locator("li").count() >= 4
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    page.locator("#reading .token").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#reading .token").nth(1)).to_be_focused()
    expect(card).to_be_visible()


def test_a_runner_up_takes_the_place_of_a_word_and_the_text_goes_on_from_there(
    page: Page,
) -> None:
    _look(page)
    page.locator("#reading .token").nth(2).focus()
    page.keyboard.press("ArrowDown")
    other = page.locator("[data-runners-up] button:focus .runner-word").text_content() or ""
    before = text_of(page)
    page.keyboard.press("Enter")
    assert await_offer(page)
    assert text_of(page).endswith(other)
    assert text_of(page) != before[: len(text_of(page))]


def test_typed_words_have_no_shade(page: Page) -> None:
    ghost = _look(page)
    act(page, "certainty")
    expect(page.locator("#reading")).to_be_hidden()
    to_the_text(page)
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(" And so on.")
    expect(page.locator("#text")).to_have_value(START + ghost + " And so on.")
    act(page, "certainty")
    expect(page.locator("#reading [data-text]")).to_have_text(START + ghost + " And so on.")
    assert "so on" not in "".join(page.locator("#reading .token").all_text_contents())


def test_certainty_is_not_offered_where_the_model_tells_none(page: Page) -> None:
    def without_logprobs(route: Route) -> None:
        reply = route.fetch()
        models = reply.json()
        models["data"][0]["limits"]["logprobs"] = 0
        route.fulfill(response=reply, json=models)

    page.route("**/v1/models", without_logprobs)
    page.reload()
    write(page)
    with page.expect_request("**/v1/completions") as sent:
        page.keyboard.press("Tab")
    assert await_offer(page)
    assert '"logprobs"' not in (sent.value.post_data or "")
    expect(page.locator("[data-act=certainty]")).to_be_hidden()


def test_what_if_goes_on_from_before_any_word(page: Page) -> None:
    write(page)
    act(page, "certainty")
    page.click("#survey-read")
    word = page.locator("#reading .token", has_text="little")
    word.focus()
    page.locator(".runner-what-if button").click()
    assert await_offer(page)
    assert text_of(page) == START[: START.index(" little")]
    act(page, "certainty")
    # What stood there is one step back, and a branch of the tree.
    to_the_text(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    expect(page.locator("#text")).to_have_value(START)

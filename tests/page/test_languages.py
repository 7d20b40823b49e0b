"""The page in other languages: complete, loaded when asked for, and nothing cut off."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.page.actions import await_offer, write
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.states import open_look
from tests.page.test_screens import expect_nothing_cut_off
from tests.page.words_of_page import PAGE, all_words

CODES = ["de", "es", "fr", "ja", "zh"]
CATALOGUES = {
    code: json.loads((PAGE / "language" / f"{code}.json").read_text(encoding="utf-8"))
    for code in CODES
}
# What is spelt alike in two languages, or is nobody's word.
ALIKE = 40


@pytest.mark.parametrize("code", CODES)
def test_a_catalogue_has_every_word_of_the_page(code: str) -> None:
    catalogue = CATALOGUES[code]
    assert catalogue.keys() == all_words()
    for english, words in catalogue.items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", words)), english
    same = [english for english, words in catalogue.items() if english == words]
    assert len(same) < ALIKE, same


@pytest.mark.parametrize(("locale", "code"), [("de-AT", "de"), ("fr-CA", "fr")])
def test_the_page_speaks_the_browsers_language(
    open_page: OpenPage, gateway: GatewayProcess, locale: str, code: str
) -> None:
    page = open_page(gateway.url, locale=locale, viewport={"width": 390, "height": 844})
    page.wait_for_selector("#examples button", state="attached")
    expect(page.locator("html")).to_have_attribute("lang", code)
    words = CATALOGUES[code]
    expect(page.locator("[data-act=continue]")).to_contain_text(words["Continue"])
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)
    expect(page.locator("[data-act=accept]")).to_contain_text(words["Accept"])
    expect(page.locator("[role=status]")).to_contain_text(words["Tab accepts, Escape drops."])
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        expect_nothing_cut_off(page, width)
    page.set_viewport_size({"width": 1280, "height": 860})
    beyond = (
        "() => { const { scrollWidth, clientWidth } = tools; return scrollWidth - clientWidth; }"
    )
    assert page.evaluate(beyond) <= 0
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("#open-settings")
    english = page.evaluate(
        """known => [...document.querySelectorAll("#settings *")]
            .flatMap((element) => [...element.childNodes])
            .filter(({ nodeType }) => nodeType === Node.TEXT_NODE)
            .map(({ data }) => data.trim())
            .filter((words) => known.includes(words))""",
        [each for each in words if each != words[each]],
    )
    assert english == []


def test_a_language_is_chosen_and_loaded_then_alone(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page(gateway.url, viewport={"width": 1440, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector("#examples button", state="attached")
    assert not [url for url in asked if "/language/" in url]
    open_look(page)
    page.select_option("#interface", "es")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page.locator("[data-act=continue]")).to_contain_text("Continuar")
    assert [url for url in asked if url.endswith("/language/es.json")]
    open_look(page)
    page.select_option("#interface", "en")
    expect(page.locator("[data-act=continue]")).to_contain_text("Continue")


def test_a_catalogue_that_does_not_come_leaves_english(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page("about:blank", locale="de-DE")
    page.route("**/page/language/**", lambda asked: asked.abort())
    page.goto(gateway.url)
    expect(page.locator("[data-act=continue]")).to_contain_text("Continue")

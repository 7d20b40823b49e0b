"""Names, prompts, replies, links and errors are words on the page, whatever they look like."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import act, await_offer, expect_notice, ghost_of, text_of, write
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess

MARKUP = (
    "<img id=hostile src=x onerror=window.hacked=1><script id=hostile>window.hacked=1</script>"
    "<a id=hostile href='javascript:window.hacked=1'>\"'`&lt;</a>{{7*7}}${7*7}"
)
# What the model writes, token by token, and what a prompt of this begins makes it refuse.
PIECES = "        self._token_bytes = read_token_bytes(tokenizer, self.size)\n"
READ = "        request = _seeded(request, identity)\n"
CHANGES = {
    "handler/engine/vocabulary.py": (
        PIECES,
        PIECES
        + f"        markup = {MARKUP.encode()!r}\n"
        + "        for pieces in (self._token_bytes.first, self._token_bytes.following):\n"
        + "            pieces[:] = [markup] * len(pieces)\n",
    ),
    "handler/service.py": (
        READ,
        "        if 'refuse' in str(request.prompt):\n"
        f"            raise BadRequest({MARKUP!r}, param={MARKUP!r}, code={MARKUP!r})\n" + READ,
    ),
}


@pytest.fixture(scope="module")
def hostile(
    model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway in front of an archive whose names, texts and errors are markup."""
    store = tmp_path_factory.mktemp("store")
    with (
        zipfile.ZipFile(model_store / "gpt2.mar") as sound,
        zipfile.ZipFile(store / "gpt2.mar", "w") as made,
    ):
        for entry in sound.infolist():
            content = sound.read(entry)
            if entry.filename == "model/archive.json":
                metadata = {"checkpoint": MARKUP, "license": MARKUP, "examples": [MARKUP]}
                content = json.dumps({**json.loads(content), **metadata}).encode()
            if entry.filename in CHANGES:
                before, after = CHANGES[entry.filename]
                assert content.count(before.encode()) == 1, entry.filename
                content = content.replace(before.encode(), after.encode())
            made.writestr(entry, content)
    process = GatewayProcess(store, store / "log")
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


@pytest.fixture
def page(open_page: OpenPage, hostile: GatewayProcess) -> Iterator[Page]:
    opened = open_page(hostile.url, viewport={"width": 1440, "height": 900})
    opened.on("dialog", lambda dialog: pytest.fail(dialog.message))
    opened.wait_for_selector("#examples button", state="attached")
    yield opened
    assert_only_words(opened)


def assert_only_words(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator("#hostile").count() == 0
    assert page.locator("script:not([src]), iframe, [onerror], [href^='javascript:']").count() == 0


def test_the_models_name_and_examples(page: Page, hostile: GatewayProcess) -> None:
    expect(page.locator("body")).to_contain_text(MARKUP)
    page.locator("#examples button").first.click()
    assert text_of(page) == MARKUP


def test_what_is_written_and_what_the_model_goes_on_with(page: Page) -> None:
    write(page, MARKUP)
    page.keyboard.press("Tab")
    assert MARKUP in await_offer(page)
    assert_only_words(page)
    ghost = ghost_of(page)
    page.keyboard.press("Tab")
    # The view is drawn with the next frame.
    expect(page.locator("#text")).to_have_value(MARKUP + ghost)
    act(page, "certainty")
    expect(page.locator("#reading [data-text]")).to_have_text(MARKUP + ghost)
    page.locator("#reading .token").first.focus()
    expect(page.locator("[data-runners-up]")).to_be_visible()
    expect(page.locator("[data-runners-up]")).to_contain_text(MARKUP)


def test_alternatives(page: Page) -> None:
    write(page, "Once")
    act(page, "branch")
    page.wait_for_function("markup => document.body.textContent.includes(markup)", arg=MARKUP)


def test_a_refusal_in_the_servers_words(page: Page) -> None:
    write(page, "refuse")
    page.keyboard.press("Tab")
    expect_notice(page, MARKUP.replace("`", ""))  # the page names no fields


@pytest.mark.parametrize("name", ["seed", "max_tokens", "temperature", "top_p"])
def test_a_link(open_page: OpenPage, hostile: GatewayProcess, name: str) -> None:
    opened = open_page(f"{hostile.url}#text={quote(MARKUP)}&{name}={quote(MARKUP)}&x={MARKUP}")
    opened.on("dialog", lambda dialog: pytest.fail(dialog.message))
    opened.wait_for_selector("#examples button", state="attached")
    assert text_of(opened) == MARKUP
    opened.click("#share")
    link = opened.locator("#link").input_value()
    assert link.startswith(hostile.url + "#") and "<" not in link
    assert_only_words(opened)

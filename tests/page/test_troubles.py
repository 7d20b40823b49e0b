"""The service starts, is busy, wants a key or breaks off: the page says so and finds a way on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.actions import (
    START,
    act,
    await_offer,
    expect_notice,
    ghost_of,
    set_slider,
    text_of,
    to_the_text,
    write,
)
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.states_in_trouble import answer, break_off

KEY = "a-key-of-this-test-and-no-other: é; ключ"
# Requests a minute: each third of it another one is let in, and the page waits for as long at most.
LIMIT = 3
# What the page says for each code that a 503 comes with.
REASONS = [
    ("not_ready", "The model is starting"),
    ("draining", "The model is starting"),
    ("drained", "The model is starting"),
    ("unavailable", "The model is starting"),
    ("full", "The service is busy"),
    ("worker_lost", "lost before it could answer"),
    ("lost_request", "lost before it could answer"),
    ("engine_error", "failed before it could answer"),
    ("stalled", "took too long to answer"),
    (None, "something in it failed"),
]


@pytest.fixture(scope="module")
def guarded(
    model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that wants a key and allows few requests a minute."""
    process = GatewayProcess(
        model_store,
        tmp_path_factory.mktemp("guarded") / "log",
        API_KEYS=f"visitor:{KEY}",
        REQUESTS_PER_MINUTE=str(LIMIT),
    )
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


@pytest.fixture
def frail(model_store: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway of the test's own, not yet started, to be killed at will."""
    process = GatewayProcess(model_store, tmp_path / "log", DRAIN_SECONDS="0")
    try:
        yield process
    finally:
        process.stop()


def test_a_key_is_asked_for_once_and_kept_in_the_session(
    open_page: OpenPage, guarded: GatewayProcess
) -> None:
    page = open_page(guarded.url)
    expect_notice(page, "open to people with an access key")
    write(page)
    page.keyboard.press("Tab")
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type("wrong-key")
    page.keyboard.press("Enter")
    expect(page.locator("#key-wrong")).to_be_visible()
    page.locator("#key").fill(KEY)
    page.keyboard.press("Enter")
    assert await_offer(page)
    assert KEY not in page.url
    stored = "() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage)]"
    session, local = page.evaluate(stored)
    assert KEY in session
    assert KEY not in local

    page.reload()
    page.wait_for_selector("#examples button", state="attached")
    to_the_text(page)
    page.keyboard.press("Tab")
    assert await_offer(page)
    expect(page.locator("#key-dialog")).to_be_hidden()


def test_over_the_limit_the_page_says_when_it_tries_again(
    open_page: OpenPage, guarded: GatewayProcess
) -> None:
    page = open_page(guarded.url)
    page.evaluate("key => sessionStorage.setItem('access-key', key)", KEY)
    page.reload()
    write(page)
    for _ in range(5 * LIMIT):  # a slow machine is let in again meanwhile
        page.keyboard.press("Tab")
        page.wait_for_selector("[data-act=another]:not(:disabled), #notice:not([hidden])")
        if page.is_visible("#notice"):
            break
        page.keyboard.press("Escape")
    expect_notice(page, "The service is busy. Trying again in")
    words = page.locator("#notice p").text_content()
    page.wait_for_function(
        "words => document.querySelector('#notice p').textContent !== words", arg=words
    )
    assert text_of(page) == START
    page.get_by_role("button", name="Never mind").click()
    expect(page.locator("#notice")).to_be_hidden()


def end_in_mid_stream(page: Page, service: GatewayProcess, end: Callable[[], None]) -> None:
    """Keep going, and end the service while a continuation is written.

    Who keeps going asks for one after the other. Where the end falls between two of them nothing is
    cut off, and the page goes on by itself with the next service.
    """

    def ask_without_end(asked: Route) -> None:
        asked.continue_(post_data=json.dumps({**asked.request.post_data_json, "ignore_eos": True}))

    page.route("**/v1/completions", ask_without_end)
    set_slider(page, "max_tokens", 200)
    act(page, "keep-going")
    notice = page.locator("#notice")
    while True:
        page.wait_for_function(
            "() => document.querySelector('[data-ghost]').textContent.length > 20"
        )
        end()
        expect(notice).to_be_visible()
        if "still here" in (notice.text_content() or ""):
            return
        service.start()


def test_a_text_waits_for_the_model_to_start_and_outlives_a_restart_in_mid_stream(
    open_page: OpenPage, frail: GatewayProcess
) -> None:
    frail.start()
    frail.wait_page()
    page = open_page(frail.url)
    expect_notice(page, "The model is starting")
    write(page)
    page.keyboard.press("Tab")
    expect_notice(page, "goes on by itself")
    assert await_offer(page), "it did not go on by itself"
    page.keyboard.press("Tab")

    before = text_of(page)
    end_in_mid_stream(page, frail, frail.kill)
    expect(page.get_by_role("button", name="Go on from here")).to_be_visible()
    kept = text_of(page) + ghost_of(page)
    assert len(kept) > len(before) + 20

    frail.start()
    set_slider(page, "max_tokens", 5)
    page.get_by_role("button", name="Go on from here").click()
    page.wait_for_function(
        "kept => document.querySelector('#text').value.length > kept.length + 20", arg=kept
    )
    page.keyboard.press("Escape")
    expect(page.locator("[data-act=continue]")).to_be_visible()
    assert text_of(page).startswith(kept)


def test_each_reason_for_a_503_has_its_words_and_what_does_not_pass_is_not_waited_for(
    page: Page,
) -> None:
    write(page)
    for code, words in REASONS:
        answer(page, "completions", 503, "In the service's words", "server_error", code)
        page.keyboard.press("Tab")
        expect_notice(page, words)
        waits = page.locator("#notice[data-kind=wait]")
        again = page.get_by_role("button", name="Try again")
        if code in ("not_ready", "draining", "drained", "unavailable", "full"):
            expect(waits).to_be_visible()
            expect(again).to_be_hidden()
        else:
            expect(waits).to_be_hidden()
            expect(again).to_be_visible()
        page.keyboard.type(".")
        expect(page.locator("#notice")).to_be_hidden()
        page.unroute_all()

    answer(page, "completions", 503, "In the service's words", "server_error", "stalled")
    page.keyboard.press("Tab")
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    page.unroute_all()
    again.click()
    assert await_offer(page)


def test_a_text_is_sent_again_by_itself_a_few_times_only(page: Page) -> None:
    page.clock.install()
    answer(page, "completions", 503, "The model is not ready", "server_error", "not_ready")
    write(page)
    with page.expect_request("**/v1/completions"):
        page.keyboard.press("Tab")
    for _ in range(3):
        expect_notice(page, "The model is starting")
        with page.expect_request("**/v1/completions"):
            page.clock.fast_forward(2_000)
    expect_notice(page, "The model is still not ready")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_proxy_with_nobody_behind_it_is_waited_for(page: Page) -> None:
    page.route("**/v1/completions", lambda asked: asked.fulfill(status=503, body="<h1>503</h1>"))
    write(page)
    page.keyboard.press("Tab")
    expect_notice(page, "The service does not answer")
    page.unroute_all()
    assert await_offer(page)


def test_a_model_that_fails_while_it_writes_is_no_broken_connection(page: Page) -> None:
    break_off(page, "engine_error")
    expect_notice(page, "The model failed while it was writing. What came so far is still here.")
    page.unroute_all()
    page.get_by_role("button", name="Go on from here").click()
    assert await_offer(page)
    assert text_of(page).startswith(f"{START} went out to see the")


def test_what_came_before_a_shutdown_is_kept(open_page: OpenPage, frail: GatewayProcess) -> None:
    frail.start()
    frail.wait_ready()
    page = open_page(frail.url)
    write(page)
    end_in_mid_stream(page, frail, frail.stop)
    assert len(text_of(page) + ghost_of(page)) > len(START) + 20


def test_a_text_in_another_language_gets_a_word_of_warning(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page(gateway.url)
    write(page, "Es war einmal ein kleiner Fuchs, der lebte mit seiner Mutter im tiefen Wald und")
    page.keyboard.press("Tab")
    await_offer(page)
    expect(page.locator("#language")).to_be_visible()
    expect(page.locator("#language")).to_contain_text("English")

"""Every state of the page that has a look of its own, and the way to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlencode

from playwright.sync_api import Page, expect

from tests.page.actions import (
    START,
    act,
    await_offer,
    expect_notice,
    keep_now,
    open_shelf,
    set_slider,
    write,
)

GERMAN = "Es war einmal ein kleiner Fuchs, der lebte mit seiner Mutter im tiefen Wald und"


def empty(page: Page) -> None:
    page.wait_for_selector("#examples button", state="attached")


def offered(page: Page) -> None:
    empty(page)
    write(page)
    page.keyboard.press("Tab")
    await_offer(page)


def alternatives(page: Page) -> None:
    empty(page)
    write(page)
    act(page, "branch")
    expect(page.locator(".choice")).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)


def certainty(page: Page) -> None:
    set_slider(page, "max_tokens", 60)
    offered(page)
    page.keyboard.press("Tab")
    act(page, "certainty")
    page.locator("#reading .token").nth(4).hover()
    expect(page.locator("[data-runners-up]")).to_be_visible()


def nothing_to_shade(page: Page) -> None:
    empty(page)
    write(page)
    act(page, "certainty")
    expect(page.locator("#reading [data-empty]")).to_be_visible()


# Streams stand still, open, once this much of them has come.
HOLD_STREAMS = """() => {
  const fetched = window.fetch;
  window.fetch = async (...asked) => {
    const reply = await fetched(...asked);
    if (!String(asked[0]).includes('completions')) return reply;
    const reader = reply.body.getReader();
    let bytes = 0;
    const body = new ReadableStream({
      async pull(controller) {
        if (bytes > 6000) return new Promise(() => {});
        const { value, done } = await reader.read();
        if (done) return controller.close();
        bytes += value.length;
        controller.enqueue(value);
      },
    });
    return new Response(body, { status: reply.status, headers: reply.headers });
  };
}"""


def keep_going(page: Page) -> None:
    empty(page)
    write(page)
    # The embedded model would be done with the whole text before it was looked at.
    page.evaluate(HOLD_STREAMS)
    act(page, "keep-going")
    page.wait_for_function("() => document.querySelector('[data-ghost]').textContent.length > 40")
    expect(page.locator("[data-act=stop]")).to_be_visible()


def language(page: Page) -> None:
    empty(page)
    write(page, GERMAN)
    page.keyboard.press("Tab")
    await_offer(page)
    expect(page.locator("#language")).to_be_visible()


def too_long(page: Page) -> None:
    empty(page)
    write(page, "a long walk home " * 200)
    page.keyboard.press("Tab")
    expect_notice(page, "longer than the model can read")


def settings(page: Page) -> None:
    offered(page)
    if not page.is_visible("#settings"):
        page.click("#open-settings")
    expect(page.locator("#length")).to_be_visible()


def shared(page: Page) -> None:
    settings(page)
    page.click("#share")
    expect(page.locator("#link")).to_be_in_viewport(ratio=1)


def linked(page: Page) -> None:
    fields = urlencode({"text": START, "seed": 7, "max_tokens": 20, "temperature": 0.7, "top_p": 1})
    page.goto(f"{page.url}#{fields}")
    expect_notice(page, "came with a link")


def texts(page: Page) -> None:
    offered(page)
    page.keyboard.press("Tab")
    keep_now(page)
    open_shelf(page)
    page.click("[data-what=more]")
    expect(page.locator("[data-what=trash]")).to_be_visible()


def story_map(page: Page) -> None:
    alternatives(page)
    page.keyboard.press("2")
    page.click("#open-map")
    expect(page.locator(".map-row")).to_have_count(4)


def compared(page: Page) -> None:
    story_map(page)
    for key in ("c", "Home", "ArrowDown", "c"):
        page.keyboard.press(key)
    expect(page.locator(".map-ways p")).to_have_count(2)


def surveyed(page: Page) -> None:
    empty(page)
    write(page, "He went home and said good night. Quantum marmalade forbids the fox. " * 3)
    act(page, "certainty")
    page.click("#survey-read")
    expect(page.locator(".survey-passages")).to_be_visible()
    page.locator(".survey-other summary").click()


# What follows needs a service in a bad way. `test_troubles.py` has the real ones; here the answers
# alone are those of such a service, word for word.


def starting(page: Page) -> None:
    answer(page, "models", 503, "The model is starting", "server_error", "not_ready")
    page.reload()
    write(page)
    page.keyboard.press("Tab")
    expect_notice(page, "goes on by itself")


def unreachable(page: Page) -> None:
    page.route("**/v1/**", lambda asked: asked.abort())
    page.reload()
    expect_notice(page, "does not answer. You can write in the meantime")


def failed(page: Page) -> None:
    empty(page)
    words = "The worker was lost; please send the request again"
    answer(page, "completions", 503, words, "server_error", "worker_lost")
    write(page)
    page.keyboard.press("Tab")
    expect_notice(page, "was lost before it could answer")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def refused(page: Page) -> None:
    empty(page)
    words = "The text does not look English (`de`); this model writes English"
    answer(page, "completions", 400, words, "invalid_request_error", "lang_det_err")
    write(page, GERMAN)
    page.keyboard.press("Tab")
    expect_notice(page, "does not look English (de)")


def full(page: Page) -> None:
    empty(page)
    answer(page, "completions", 429, "The service is full", "rate_limit_error", "full")
    write(page)
    page.keyboard.press("Tab")
    expect_notice(page, "Trying again in")


def key_wanted(page: Page) -> None:
    answer(page, "models", 401, "No key was sent", "authentication_error", "invalid_api_key")
    page.reload()
    expect_notice(page, "access key")


def key_dialog(page: Page) -> None:
    key_wanted(page)
    write(page)
    page.keyboard.press("Tab")
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type("wrong-key")
    page.keyboard.press("Enter")
    expect(page.locator("#key-wrong")).to_be_visible()


def cut(page: Page) -> None:
    break_off(page, "worker_lost")
    expect_notice(page, "lost while it was writing. What came so far is still here.")


def break_off(page: Page, code: str) -> None:
    """Have a text continued that ends in an error."""
    empty(page)
    choice = {"index": 0, "text": " went out to see the", "logprobs": None, "finish_reason": None}
    event = {"id": "cmpl-1", "object": "text_completion", "created": 1, "choices": [choice]}
    error = error_of("In the service's own words", "server_error", code)
    body = "".join(f"data: {json.dumps(part)}\n\n" for part in (event, error))
    page.route(
        "**/v1/completions",
        lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
    )
    write(page, START)
    page.keyboard.press("Tab")


def error_of(message: str, kind: str, code: str | None) -> dict[str, object]:
    """An error in the service's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def answer(page: Page, route: str, status: int, message: str, kind: str, code: str | None) -> None:
    """From now on a route answers with this error."""
    body = json.dumps(error_of(message, kind, code))
    page.route(
        f"**/v1/{route}",
        lambda asked: asked.fulfill(
            status=status,
            content_type="application/json",
            headers={"retry-after": "20"},
            body=body,
        ),
    )


STATES: list[Callable[[Page], None]] = [
    empty,
    offered,
    alternatives,
    certainty,
    nothing_to_shade,
    keep_going,
    language,
    too_long,
    settings,
    shared,
    linked,
    texts,
    story_map,
    compared,
    surveyed,
    starting,
    unreachable,
    failed,
    refused,
    full,
    key_wanted,
    key_dialog,
    cut,
]


def name_of(reach: Callable[[Page], None]) -> str:
    """What a state is called in a test's name and a picture's."""
    return reach.__name__.replace("_", "-")

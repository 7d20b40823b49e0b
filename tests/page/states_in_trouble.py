"""States of the page when its service is in a bad way, and the way to each.

`test_troubles.py` has real ones; here the answers alone are those of such a service, word for word.
"""

from __future__ import annotations

import json

from playwright.sync_api import Page, expect

from tests.page.actions import START, expect_notice, write
from tests.page.states import GERMAN, empty


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

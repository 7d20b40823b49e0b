"""States of the page that have a look of their own, and the way to each."""

from __future__ import annotations

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


# Streams stand still, open, once this much of them has come (twenty words about; on a busy machine
# the whole of one may come in a single read). Whoever wants them held asks for more than that.
HOLD_STREAMS = """() => {
  const fetched = window.fetch;
  window.fetch = async (...asked) => {
    const reply = await fetched(...asked);
    if (!String(asked[0]).includes('completions')) return reply;
    const reader = reply.body.getReader();
    let left = 6000;
    const body = new ReadableStream({
      async pull(controller) {
        if (!left) return new Promise(() => {});
        const { value, done } = await reader.read();
        if (done) return controller.close();
        const taken = value.subarray(0, left);
        left -= taken.length;
        controller.enqueue(taken);
      },
    });
    return new Response(body, { status: reply.status, headers: reply.headers });
  };
}"""


def keep_going(page: Page) -> None:
    empty(page)
    set_slider(page, "max_tokens", 60)
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


def open_guidance(page: Page, part: str) -> None:
    """Open one of the parts of the settings in which the model is told something."""
    if not page.is_visible("#settings"):
        page.click("#open-settings")
    details = page.locator(f"[data-part={part}]")
    if details.get_attribute("open") is None:
        details.locator("summary").click()


def open_look(page: Page) -> None:
    """Open the part of the settings that says how the text looks."""
    if not page.is_visible("#settings"):
        page.click("#open-settings")
    page.locator("#look summary").click()


def guided(page: Page) -> None:
    write(page, "It was late.\n\n" + "The little fox went home and was very glad of it. " * 60)
    for part in ("notes", "words", "form"):
        open_guidance(page, part)
    page.fill("#memory", "Tom is a small boy who has a red kite.")
    page.fill("[name=word]", "suddenly")
    page.click("[data-add]")
    page.select_option("#form", "rhyme")
    page.fill("#pattern", "day, away")
    open_look(page)
    expect(page.locator(".mark-forgets")).to_have_count(1)
    page.locator("#memory").scroll_into_view_if_needed()


def more(page: Page) -> None:
    offered(page)
    page.click("[popovertarget=more]")
    expect(page.locator("#more")).to_be_visible()


def finding(page: Page) -> None:
    write(page, "Tom had a kite. A kite is red, and a kite can fly.")
    page.keyboard.press("Control+h")
    page.fill("[name=find]", "kite")
    expect(page.locator(".find-said")).to_have_text("1 of 3")


def first_visit(page: Page) -> None:
    page.add_init_script("localStorage.removeItem('taught')")
    page.reload()
    expect(page.locator(".lesson")).to_contain_text("1 of 3")


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

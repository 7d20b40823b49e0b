"""What a person does on the page, and what they see."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.patience import wait_until

START = "Once upon a time there was a little fox who"


def to_the_text(page: Page) -> None:
    """Set the caret into the text, which cannot take it while another view stands in its place."""
    expect(page.locator("#text")).to_be_visible()
    page.locator("#text").focus()


def write(page: Page, text: str = START) -> None:
    """Type a text as a person does."""
    to_the_text(page)
    page.keyboard.insert_text(text)


def text_of(page: Page) -> str:
    """Return what is written."""
    return page.locator("#text").input_value()


def ghost_of(page: Page) -> str:
    """Return what is offered behind it."""
    return (page.locator("[data-ghost]").text_content() or "").replace("\u200b", "")


def expect_no_ghost(page: Page) -> None:
    """Wait until nothing is offered."""
    page.wait_for_function(
        "() => document.querySelector('[data-ghost]').textContent.replace('\u200b', '') === ''"
    )


def await_offer(page: Page) -> str:
    """Wait until a continuation is complete, and return it."""
    page.wait_for_selector("[data-act=another]:not(:disabled)", state="attached")
    # The view is drawn at most once a frame.
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return ghost_of(page)


def set_slider(page: Page, name: str, value: float) -> None:
    """Move a slider."""
    slider = page.locator(f"[name={name}]")
    slider.evaluate(
        """(slider, value) => {
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        str(value),
    )


def act(page: Page, name: str) -> None:
    """Press one of the buttons below the text."""
    page.click(f"[data-act={name}]")


def expect_notice(page: Page, words: str) -> None:
    """Wait until the page says so."""
    expect(page.locator("#notice")).to_contain_text(words)


# Whether what is on the sheet stands in the browser's database, under this tab's text.
IS_KEPT = """async () => {
    const { openDatabase, resultOf } = await import("/page/script/store/database.js");
    const database = await openDatabase();
    const bodies = await resultOf(database.transaction("bodies").objectStore("bodies").getAll());
    database.close();
    const { value } = document.querySelector("#text");
    const draft = JSON.parse(sessionStorage.getItem("draft"));
    const isKept = ({ id, text }) => id === draft.id && text === value;
    return draft?.text === value && bodies.some(isKept);
}"""


# All that the browser's database has.
TREE = """async () => {
    const { openDatabase, resultOf } = await import("/page/script/store/database.js");
    const database = await openDatabase();
    const all = (name) => resultOf(database.transaction(name).objectStore(name).getAll());
    return { texts: await all("texts"), bodies: await all("bodies"),
             branches: await all("branches") };
}"""


def keep_now(page: Page) -> None:
    """Wait until what is written is kept."""
    # Not `wait_for_function`, for which a promise is true.
    wait_until(lambda: bool(page.evaluate(IS_KEPT)))


def open_shelf(page: Page) -> None:
    """Show all texts."""
    page.click("#open-shelf")
    expect(page.locator("#shelf")).to_be_visible()


def row_act(page: Page, title: str, what: str) -> None:
    """Press one of the buttons of a text's row in the shelf."""
    row = page.locator(".shelf-item").filter(has=page.get_by_text(title, exact=True))
    if not row.locator(f"[data-what={what}]").is_visible():
        row.locator("[data-what=more]").click()
    row.locator(f"[data-what={what}]").click()

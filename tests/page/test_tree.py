"""The tree of a story: every way on is kept, and can be walked, compared, pinned, pruned, sent."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.page.actions import (
    START,
    act,
    await_offer,
    expect_notice,
    keep_now,
    set_slider,
    text_of,
    to_the_text,
    write,
)
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess


def open_map(page: Page) -> None:
    page.click("#open-map")
    expect(page.locator("#map")).to_be_visible()


def three_ways(page: Page) -> list[str]:
    """Write, have three ways written, take the second."""
    write(page)
    act(page, "branch")
    expect(page.locator(".choice")).to_have_count(3)
    expect(page.locator(".choice.is-writing")).to_have_count(0)
    ways = page.locator(".choice-words").all_text_contents()
    page.keyboard.press("2")
    expect(page.locator("#text")).to_have_value(START + ways[1])
    return ways


def test_the_map_is_walked_with_the_keyboard(page: Page) -> None:
    ways = three_ways(page)
    open_map(page)
    expect(page.locator(".map-row")).to_have_count(4)
    expect(page.locator(".map-row[aria-current]")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".map-row[aria-selected=true]")).to_contain_text(START)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value(START + ways[0])
    expect(page.locator("#map")).to_be_hidden()
    page.keyboard.press("Control+z")
    expect(page.locator("#text")).to_have_value(START + ways[1])


def test_words_that_were_typed_since_are_a_branch_too(page: Page) -> None:
    ways = three_ways(page)
    to_the_text(page)
    page.keyboard.press("Control+End")
    page.keyboard.type(" My own words.")
    open_map(page)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value(START + ways[0])
    open_map(page)
    page.locator(".map-row", has_text="My own words.").click()
    page.get_by_role("button", name="Go there").click()
    expect(page.locator("#text")).to_have_value(START + ways[1] + " My own words.")


def test_branches_are_compared_pinned_and_pruned_and_pruning_is_undone(page: Page) -> None:
    ways = three_ways(page)
    open_map(page)
    page.keyboard.press("c")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("c")
    shown = page.locator(".map-ways p").all_text_contents()
    assert all(
        words.strip() in START + way for words, way in zip(shown, (ways[1], ways[0]), strict=True)
    )
    assert shown[0] != shown[1]
    page.keyboard.press("p")
    expect(page.locator(".map-row[aria-selected=true]")).to_contain_text("pinned")
    page.keyboard.press("Delete")
    expect(page.locator("#map [role=status]")).to_contain_text("pinned ones, stay")
    page.get_by_role("button", name="Prune what was dropped").click()
    expect(page.locator(".map-row")).to_have_count(3)
    page.locator("#map [role=status] button").click()
    expect(page.locator(".map-row")).to_have_count(4)
    page.keyboard.press("Escape")
    keep_now(page)


def test_branches_are_compared_with_a_pointer_alone(page: Page) -> None:
    three_ways(page)
    open_map(page)
    page.get_by_role("button", name="Compare").click()
    page.locator(".map-row").nth(1).click()
    expect(page.locator(".map-ways p")).to_have_count(2)


def test_what_if_goes_on_from_any_word_and_the_other_end_stays(page: Page) -> None:
    write(page, "One day the fox went home and slept all night.")
    set_slider(page, "max_tokens", 5)
    page.evaluate("() => document.querySelector('#text').setSelectionRange(14, 14)")
    expect(page.locator("[data-act=what-if]")).to_be_visible()
    page.keyboard.press("Alt+Enter")
    ghost = await_offer(page)
    page.keyboard.press("Tab")
    expect(page.locator("#text")).to_have_value("One day the" + ghost)
    open_map(page)
    expect(page.locator(".map-row")).to_have_count(2)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value("One day the fox went home and slept all night.")


def link_of(page: Page) -> str:
    open_map(page)
    page.get_by_role("button", name="Copy a link to the tree").click()
    page.wait_for_function("() => document.querySelector('#link').value.includes('#story=')")
    return page.locator("#link").input_value()


def test_a_small_tree_travels_whole_in_a_link(
    page: Page, open_page: OpenPage, gateway: GatewayProcess
) -> None:
    ways = three_ways(page)
    link = link_of(page)
    expect_notice(page, "holds all texts")
    other = open_page("about:blank")
    # Nothing of it is asked of a model.
    other.route("**/v1/completions", lambda asked: asked.abort())
    other.goto(link)
    expect(other.locator("#text")).to_have_value(START + ways[1])
    expect_notice(other, "and its tree with it")
    assert "#" not in other.url
    open_map(other)
    for way in ways:
        words = re.sub(r"\s+", " ", way.strip())[:30]
        expect(other.locator(".map-row").filter(has_text=words)).to_have_count(1)


def test_a_large_tree_travels_as_seeds_and_is_written_again(
    page: Page, open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page.evaluate(
        "import('/page/script/story/link.js').then(({ limits }) => { limits.characters = 700 })"
    )
    three_ways(page)
    for _ in range(2):
        page.keyboard.press("Control+Enter")
        await_offer(page)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("[data-act=continue]:visible")
    text = text_of(page)
    link = link_of(page)
    expect_notice(page, "seeds of the model's")
    other = open_page(link)
    expect(other.locator("#text")).to_have_value(text)


def test_a_link_says_when_another_model_answers(page: Page, open_page: OpenPage) -> None:
    link = page.evaluate(
        """async () => {
            const { packStory } = await import("/page/script/story/link.js");
            const { Story } = await import("/page/script/story/story.js");
            const made = { seed: 1, settings: {}, n: 1, index: 0, digest: "0".repeat(64),
                           model: "gpt2-other" };
            const story = new Story();
            const first = story.add(null, { keep: 0, added: "The fox", tail: 0, by: "writer",
                                            state: "taken" });
            const way = story.add(first.id, { keep: 7, added: " ran.", tail: 0, by: "model",
                                              state: "taken", made });
            story.current = way.id;
            const { fields } = await packStory({ title: "", settings: {} }, story);
            return location.href.split("#")[0] + "#" + new URLSearchParams(fields);
        }"""
    )
    other = open_page(link)
    expect(other.locator("#text")).to_have_value("The fox ran.")
    expect_notice(other, "Another model wrote it (gpt2-other)")


def test_a_damaged_link_is_refused_in_words(open_page: OpenPage, gateway: GatewayProcess) -> None:
    page = open_page(f"{gateway.url}#story=abcd")
    expect_notice(page, "This link is damaged")


STORY = """async () => {
    const { Story } = await import("/page/script/story/story.js");
    const { splice, join } = await import("/page/script/story/splice.js");
    const random = (n) => Math.floor(Math.random() * n);
    const words = ["", "a", "fox ", "\\n", "\u00e9", "\U0001f98a", "the the "];
    const story = new Story();
    const texts = new Map();
    let text = "";
    for (let step = 0; step < 400; step += 1) {
        const at = random(text.length + 1);
        const cut = Math.min(text.length, at + random(4));
        text = text.slice(0, at) + words[random(words.length)] + text.slice(cut);
        const id = story.settle(text);
        texts.set(id, text);
        if (random(3) === 0) {
            const made = story.add(id, { keep: text.length, added: " way", tail: 0, by: "model",
                                         state: "dropped" });
            texts.set(made.id, text + " way");
        }
        if (random(4) === 0) {
            const ids = [...texts.keys()];
            const to = ids[random(ids.length)];
            if (to !== null) { story.take(to); text = texts.get(to); }
        }
    }
    const again = new Story(structuredClone(story.all), story.current);
    return [...texts].filter(([id, wanted]) => again.textOf(id) !== wanted).length;
}"""


def test_every_branch_has_its_own_text_however_the_story_was_edited(page: Page) -> None:
    assert page.evaluate(STORY) == 0

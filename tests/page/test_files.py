"""Texts come from files and go to files: this page's own, and whatever else is dropped on it."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import (
    START,
    TREE,
    act,
    await_offer,
    expect_notice,
    keep_now,
    open_shelf,
    row_act,
    text_of,
    write,
)
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.odd_values import mutants


def drop(page: Page, name: str, content: bytes) -> None:
    """Drop a file onto the page."""
    page.evaluate(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (byte) => byte.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name));
            const options = { dataTransfer, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent("dragover", options));
            document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        [name, base64.b64encode(content).decode()],
    )


@pytest.mark.parametrize("kind", ["txt", "md", "json"])
def test_a_text_that_is_exported_and_imported_is_the_same(
    page: Page, open_page: OpenPage, gateway: GatewayProcess, tmp_path: Path, kind: str
) -> None:
    write(page, "\u00c9t\u00e9: a / b\n\n" + START)
    page.keyboard.press("Tab")
    await_offer(page)
    page.keyboard.press("Tab")
    keep_now(page)
    text = text_of(page)
    open_shelf(page)
    with page.expect_download() as download:
        row_act(page, "\u00c9t\u00e9: a / b", kind)
    assert download.value.suggested_filename == f"\u00c9t\u00e9  a   b.{kind}"
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    other = open_page(gateway.url)
    other.wait_for_selector("#examples button", state="attached")
    drop(other, file.name, file.read_bytes())
    expect(other.locator("#text")).to_have_value(text)
    keep_now(other)
    branches = other.evaluate(TREE)["branches"]
    wanted = page.evaluate(TREE)["branches"] if kind == "json" else []
    for branch in [*branches, *wanted]:
        del branch["text"]
    assert branches == wanted


GOOD = {"format": "go-on", "migration": 1, "text": "x", "branches": []}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{", "not exported by this page"),
        ("a.json", "[1]", "not exported by this page"),
        (
            "a.json",
            json.dumps(GOOD | {"branches": [{"id": 2, "parent": 1}]}),
            "not exported by this page",
        ),
        ("a.json", json.dumps(GOOD | {"branches": 3}), "not exported by this page"),
        ("a.json", json.dumps(GOOD | {"migration": 99}), "a newer version of this page"),
        ("a.png", "PNG\0\0", "is not a text file"),
        ("a.rtf", "{\\rtf1 Hello}", "is not a text file"),
        ("a.pdf", "%PDF-1.4 Hello", "is not a text file"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_in_words(
    page: Page, name: str, content: str, words: str
) -> None:
    write(page)
    drop(page, name, content.encode())
    expect_notice(page, words)
    assert text_of(page) == START


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", "caf\u00e9\n".encode("utf-8-sig"), "caf\u00e9\n"),
        ("a.txt", "caf\u00e9\r\nand\rthen".encode("utf-16"), "caf\u00e9\nand\nthen"),
        ("a.txt", b"\xfe\xff" + "\u732b".encode("utf-16-be"), "\u732b"),
        ("a.txt", "\u201ccaf\u00e9\u201d".encode("cp1252"), "\u201ccaf\u00e9\u201d"),
        ("a.md", b"# Fox\n\nHe ran.", "He ran."),
        ("no ending", b"He ran.", "He ran."),
    ],
)
def test_a_text_of_any_editor_comes_in_as_it_was(
    page: Page, name: str, content: bytes, text: str
) -> None:
    write(page)
    keep_now(page)
    drop(page, name, content)
    expect(page.locator("#text")).to_have_value(text)
    expect_notice(page, "Imported: ")
    open_shelf(page)
    expect(page.locator("#shelf .shelf-title")).to_have_count(2)


def test_an_empty_file_is_an_empty_text_with_a_name(page: Page) -> None:
    write(page)
    keep_now(page)
    drop(page, "nothing.txt", b"")
    expect_notice(page, "Imported: nothing")
    expect(page.locator("#text")).to_have_value("")


def test_a_text_without_a_title_has_none_after_its_file_was_imported(
    page: Page, tmp_path: Path
) -> None:
    text = "He ran home. Then he slept.\n"
    write(page, text)
    keep_now(page)
    open_shelf(page)
    with page.expect_download() as download:
        row_act(page, text.strip(), "md")
    assert download.value.suggested_filename == "He ran home. Then he slept.md"
    file = tmp_path / "copy"
    download.value.save_as(file)
    drop(page, download.value.suggested_filename, file.read_bytes())
    expect(page.locator("#shelf .shelf-title")).to_have_count(2)
    assert {card["title"] for card in page.evaluate(TREE)["texts"]} == {""}


def branch(number: int, parent: int | None, words: str, **more: object) -> dict[str, object]:
    """One of the model's branches, as an exported file has it."""
    made = {"seed": 1, "settings": {"temperature": 1}, "n": 1, "index": 0, "digest": "d"}
    token = [words, -1.5, [[words, -1.5], [" ship", -2.5]]]
    return {
        "id": number,
        "parent": parent,
        "keep": len(words) * (number - 1),
        "added": words,
        "tail": 0,
        "by": "model",
        "state": "taken",
        "pinned": False,
        "time": 0,
        "made": made,
        "tokens": [token],
        **more,
    }


WHOLE = {
    **GOOD,
    "title": "A title",
    "place": 3,
    "current": 3,
    "text": " fox" * 3,
    "settings": {"temperature": 1.2, "seed": 3, "until": "sentence", "count": 2, "memory": "Tom",
                 "words": [{"text": "fox", "by": 2}], "form": "rhyme", "pattern": "day"},
    "branches": [branch(number, number - 1 or None, " fox") for number in (1, 2, 3)],
}  # fmt: skip


def look_at_all_of_it(page: Page) -> None:
    """Open what shows a text's tree, its words' card and the list of texts."""
    page.click("#open-map")
    expect(page.locator("#map")).to_be_visible()
    page.keyboard.press("Escape")
    act(page, "certainty")
    expect(page.locator("#reading")).to_be_visible()
    for word in page.locator("#reading .token").all()[:2]:
        word.focus()
    act(page, "certainty")
    expect(page.locator("#text")).to_be_visible()


@pytest.mark.parametrize("seed", range(2))
def test_a_file_with_odd_values_is_refused_or_shown_and_breaks_nothing(
    page: Page, seed: int
) -> None:
    said = page.locator("#notice [data-words]")
    for mutant in mutants(WHOLE, 12, seed):
        page.evaluate("() => { document.querySelector('#notice [data-words]').textContent = '' }")
        drop(page, "odd.json", json.dumps(mutant).encode())
        expect(said).not_to_be_empty()
        look_at_all_of_it(page)
    # None of them has spoilt what is kept.
    open_shelf(page)
    expect(page.locator("#shelf .shelf-list").first).to_be_visible()
    page.reload()
    page.wait_for_selector("#open-shelf")
    look_at_all_of_it(page)


@pytest.mark.parametrize("seed", range(2))
def test_a_link_with_odd_values_is_refused_or_shown_and_breaks_nothing(
    page: Page, seed: int
) -> None:
    said = page.locator("#notice [data-words]")
    tree = {name: WHOLE[name] for name in ("title", "settings", "current", "branches")}
    for mutant in [*mutants(tree, 12, seed), None, 3, [], {"branches": {}}]:
        packed = zlib.compress(json.dumps(mutant).encode(), wbits=-15)
        page.evaluate("() => { document.querySelector('#notice [data-words]').textContent = '' }")
        link = base64.urlsafe_b64encode(packed).decode().rstrip("=")
        page.evaluate("link => { location.hash = `story=${link}` }", link)
        expect(said).not_to_be_empty()
        look_at_all_of_it(page)


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_a_tree_of_ten_thousand_branches_comes_in(page: Page, shape: str) -> None:
    parents = {"deep": lambda number: number - 1 or None, "wide": lambda _: None}[shape]
    tree = [
        branch(number, parents(number), " fox", keep=4 * (number - 1) if shape == "deep" else 0)
        for number in range(1, 10_001)
    ]
    text = " fox" * 10_000 if shape == "deep" else " fox"
    whole = WHOLE | {"branches": tree, "text": text, "current": 10_000, "title": "Large"}
    drop(page, "large.json", json.dumps(whole).encode())
    expect_notice(page, "Imported: Large")
    assert text_of(page) == text
    page.keyboard.type("!")
    keep_now(page)

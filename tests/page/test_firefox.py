"""The main path in Firefox: write, go on, accept, drop, look how sure it was, keep, walk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.page.actions import START
from tests.page.firefox import Firefox
from tests.page.gateway_process import GatewayProcess

PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")
TEXT = "document.querySelector('#text').value"
GHOST = "document.querySelector('[data-ghost]').textContent.replace('\\u200b', '')"
IS_OFFERED = "document.querySelector('[data-act=another]:not([hidden], :disabled)')"
PRESS = "document.querySelector('{}').click()"


@pytest.fixture
def firefox(gateway: GatewayProcess, tmp_path: Path) -> Iterator[Firefox]:
    if PROGRAM is None:
        pytest.skip("no Firefox on this machine (Debian: apt-get install firefox-esr)")
    browser = Firefox(PROGRAM, tmp_path)
    try:
        browser.open(gateway.url)
        browser.wait_for("document.querySelector('#examples button')")
        yield browser
    finally:
        browser.close()
    assert browser.faults == []


def test_a_text_is_written_kept_and_walked_in_firefox(firefox: Firefox) -> None:
    firefox.evaluate("document.querySelector('#text').focus()")
    firefox.write(START)
    firefox.press("Tab")
    firefox.wait_for(IS_OFFERED)
    first = firefox.evaluate(GHOST)
    assert first
    firefox.press("Tab")
    firefox.wait_for(f"{TEXT}.length > {len(START)}")
    assert firefox.evaluate(TEXT) == START + first
    firefox.press("Control+Enter")
    firefox.wait_for(IS_OFFERED)
    firefox.press("Escape")
    firefox.wait_for(f"{GHOST} === ''")
    firefox.press("Control+z")
    firefox.wait_for(f"{TEXT}.length === {len(START)}")

    firefox.evaluate(PRESS.format("[data-act=redo]"))
    firefox.evaluate(PRESS.format("[data-act=certainty]"))
    firefox.wait_for("document.querySelectorAll('#reading .token').length > 3")
    firefox.evaluate(PRESS.format("#reading .token"))
    firefox.wait_for("!document.querySelector('[data-runners-up]').hidden")
    firefox.evaluate(PRESS.format("[data-act=certainty]"))

    firefox.evaluate(PRESS.format("#open-map"))
    firefox.wait_for("document.querySelectorAll('.map-row').length === 3")
    firefox.evaluate(PRESS.format("#map [data-close]"))
    # Longer than the page waits before it writes a text down.
    kept = "JSON.parse(sessionStorage.getItem('draft')).revision > 0"
    firefox.wait_for(kept)
    firefox.reload()
    firefox.wait_for(f"{TEXT} === {START + first!r}")


def test_mirror_and_text_are_alike_in_firefox(firefox: Firefox) -> None:
    firefox.evaluate("""{
        const area = document.querySelector("#text");
        area.value = "Once upon a time there was a little fox who went home. ".repeat(40) +
            "\\n" + "\\u05e9\\u05dc\\u05d5\\u05dd \\u05e2\\u05d5\\u05dc\\u05dd ".repeat(60);
        area.dispatchEvent(new Event("input", { bubbles: true }));
    }""")
    firefox.wait_for("document.querySelector('.mirror').textContent.length > 2000")
    difference = firefox.evaluate("""(() => {
        const area = document.querySelector("#text");
        area.style.setProperty("height", "0");
        const needed = area.scrollHeight;
        area.style.removeProperty("height");
        return Math.round(needed - document.querySelector(".mirror").offsetHeight);
    })()""")
    assert abs(difference) < 3

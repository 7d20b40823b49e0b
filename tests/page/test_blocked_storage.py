"""The page in a browser that is set to block all cookies, and with them all storage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.actions import await_offer, expect_notice, open_shelf, text_of, write
from tests.page.conftest import FLAGS
from tests.page.gateway_process import GatewayProcess
from tests.page.states import open_look
from tests.patience import PATIENCE

# The headless shell reads no settings of a profile.
WHOLE_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BLOCKED = {"profile": {"default_content_setting_values": {"cookies": 2}}}
IS_BLOCKED = """() => {
    try { return String(localStorage).length < 0; } catch (error) { return error.name; }
}"""


@pytest.fixture
def blocked(browser: Browser, gateway: GatewayProcess, tmp_path: Path) -> Iterator[Page]:
    """A page of a browser profile with that setting; no script error may happen."""
    if WHOLE_CHROMIUM is None:
        pytest.skip("no Chromium with settings on this machine (Debian: apt-get install chromium)")
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(BLOCKED))
    faults: list[str] = []
    context = browser.browser_type.launch_persistent_context(
        tmp_path,
        executable_path=WHOLE_CHROMIUM,
        args=FLAGS,
        viewport={"width": 1280, "height": 900},
    )
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(gateway.url)
    page.wait_for_selector("#examples button", state="attached")
    assert page.evaluate(IS_BLOCKED) == "SecurityError"
    yield page
    context.close()
    assert not faults


def test_it_writes_and_says_that_nothing_is_kept(blocked: Page) -> None:
    write(blocked)
    expect_notice(blocked, "stores nothing for this page")
    blocked.keyboard.press("Tab")
    offered = await_offer(blocked)
    blocked.keyboard.press("Tab")
    assert text_of(blocked).endswith(offered)
    open_shelf(blocked)
    expect(blocked.locator("#shelf")).to_contain_text("stores nothing for this page")


def test_its_language_and_theme_can_be_changed(blocked: Page) -> None:
    blocked.click("#theme")
    open_look(blocked)
    blocked.select_option("#interface", "fr")
    expect(blocked.locator("html")).to_have_attribute("lang", "fr")


def test_the_operators_page_asks_for_a_key(blocked: Page) -> None:
    blocked.goto(f"{blocked.url}status")
    expect(blocked.locator("#state")).not_to_contain_text("Asking")

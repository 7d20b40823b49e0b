"""A real Chromium on the real page, with a real gateway and TorchServe behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.conftest import ROOT
from tests.page.gateway_process import GatewayProcess
from tests.patience import PATIENCE

# Its headless shell opens a page for a third of the processor time that the whole browser takes.
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, CHROMIUMS)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Whoever was here before is not taught again.
BE_TAUGHT = "try { localStorage.setItem('taught', '1'); } catch { /* storage is shut off */ }"
# Seeds that the page draws are the same in every run, and so are the texts.
DRAW_THE_SAME = """(() => {
    let state = 1;
    Math.random = () => (state = (state * 16807) % 2147483647) / 2147483647;
})()"""

SCREENS = ROOT / "build" / "screens"
THEMES: list[Literal["light", "dark"]] = ["light", "dark"]
OpenPage = Callable[..., Page]
expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium-headless-shell)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def gateway(
    model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that is open to all, shared by all tests that leave it as it was."""
    process = GatewayProcess(model_store, tmp_path_factory.mktemp("gateway") / "log")
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages, each in a browser profile of its own; no script or policy error may happen."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def note(message: Any) -> None:
        # The browser reports every 4xx, 5xx and cut connection itself; those are under test.
        if message.type == "error" and "Failed to load resource" not in message.text:
            faults.append(message.text)

    def open_(url: str, *, is_taught: bool = True, **options: Any) -> Page:
        # Past a service worker a test's own `page.route` would not see what the page asks for.
        options.setdefault("service_workers", "block")
        context = browser.new_context(**options)
        if is_taught:
            context.add_init_script(BE_TAUGHT)
        contexts.append(context)
        context.add_init_script(DRAW_THE_SAME)
        # Requests pass Playwright from the start: Chromium takes its time to begin with that, and
        # the first request after a test's own `page.route` could still go by it.
        context.route("**/asked-by-nobody", lambda asked: asked.abort())
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture
def page(open_page: OpenPage, gateway: GatewayProcess) -> Page:
    """The page on a desk, with the model known to it."""
    opened = open_page(gateway.url, viewport={"width": 1440, "height": 900})
    opened.wait_for_selector("#examples button", state="attached")
    return opened

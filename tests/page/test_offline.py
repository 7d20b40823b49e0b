"""The page as an installed app: it opens and edits without a network, and says what waits."""

from __future__ import annotations

import json
import urllib.request

from playwright.sync_api import Page, expect

from tests.page.actions import await_offer, expect_notice, keep_now, text_of, write
from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.patience import wait_until

IS_KEPT = """async () => {
    const names = await caches.keys();
    if (!navigator.serviceWorker.controller || names.length !== 1) return 0;
    return (await (await caches.open(names[0])).keys()).length;
}"""


def open_installed(open_page: OpenPage, gateway: GatewayProcess) -> Page:
    page = open_page(gateway.url, service_workers="allow")
    wait_until(lambda: bool(page.evaluate(IS_KEPT)))
    return page


def test_it_opens_and_edits_without_a_network(open_page: OpenPage, gateway: GatewayProcess) -> None:
    page = open_installed(open_page, gateway)
    write(page, "Written before. ")
    keep_now(page)
    page.context.set_offline(True)
    page.reload()
    expect(page.locator("#text")).to_have_value("Written before. ")
    expect_notice(page, "You are offline")
    page.locator("#text").focus()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("Written without a network.")
    # What is loaded when it is asked for is kept too.
    page.click("#open-shelf")
    expect(page.locator(".shelf-item")).to_have_count(1)
    page.keyboard.press("Escape")
    page.click("#open-map")
    expect(page.locator("#map")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#text").focus()
    page.keyboard.press("Control+h")
    expect(page.locator(".find")).to_be_visible()
    page.keyboard.press("Escape")
    keep_now(page)
    page.context.set_offline(False)
    page.wait_for_selector("#notice", state="hidden")
    page.keyboard.press("Control+End")
    page.keyboard.press("Tab")
    assert await_offer(page)
    assert text_of(page) == "Written before. Written without a network."


def test_what_the_service_is_asked_is_never_answered_from_what_is_kept(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_installed(open_page, gateway)
    kept = page.evaluate("""async () => {
        const [name] = await caches.keys();
        return (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname);
    }""")
    assert "/" in kept
    assert all(path == "/" or path.startswith("/page/") for path in kept)
    assert not any("status" in path for path in kept)
    with urllib.request.urlopen(f"{gateway.url}page/files.json") as reply:
        files = json.loads(reply.read())
    wanted = {"script/main.js", "script/comfort/find.js", "style/find.css", "app.webmanifest"}
    assert wanted <= {path.removeprefix("/page/") for path in kept}
    assert wanted <= files.keys()


def test_a_browser_can_install_it(open_page: OpenPage, gateway: GatewayProcess) -> None:
    page = open_page(gateway.url, service_workers="allow")
    session = page.context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    parsed = json.loads(manifest["data"])
    assert {icon["sizes"] for icon in parsed["icons"]} >= {"192x192", "512x512"}
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] in (
        [],
        # A window without a trace installs nothing, whatever the page says.
        [{"errorId": "in-incognito", "errorArguments": []}],
    )

"""How much the page loads, and how soon it is there, in the browser's own numbers."""

from __future__ import annotations

from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess

MOST_BYTES = 150_000
# Bytes on the wire, heads of replies included, of everything that the page asked for itself.
TRANSFERRED = """() => ["navigation", "resource"]
    .flatMap((kind) => performance.getEntriesByType(kind))
    .filter(({ initiatorType, name }) => initiatorType !== "fetch" && !name.includes("/v1/"))
    .map(({ name, transferSize }) => [new URL(name).pathname, transferSize])"""


def test_the_page_transfers_less_than_150_kb(open_page: OpenPage, gateway: GatewayProcess) -> None:
    page = open_page(gateway.url)
    page.wait_for_selector("#examples button", state="attached")
    page.evaluate("() => document.fonts.ready")
    sizes = dict(page.evaluate(TRANSFERRED))
    assert "/page/script/main.js" in sizes and "/page/font/literata-latin.woff2" in sizes
    assert all(size > 0 for size in sizes.values()), "what came from a cache proves nothing"
    assert sum(sizes.values()) < MOST_BYTES, sizes

"""A page of another site that may call: what its browser asks first is answered, and it streams."""

from __future__ import annotations

from typing import Any

from tests.page.conftest import OpenPage
from tests.page.gateway_process import GatewayProcess

# What OpenAI's own package sends from a browser.
HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer none",
    "x-stainless-lang": "js",
    "x-stainless-package-version": "6.9.0",
    "x-stainless-os": "Unknown",
    "x-stainless-arch": "unknown",
    "x-stainless-runtime": "browser:chrome",
    "x-stainless-runtime-version": "140.0.0",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
    "openai-organization": "none",
}
ASK = """async ([url, headers]) => {
    const body = JSON.stringify({ prompt: "A dog", max_tokens: 3, stream: true, store: true });
    const reply = await fetch(url, { method: "POST", headers, body });
    return {
        status: reply.status,
        ignored: reply.headers.get("x-ignored-fields"),
        text: await reply.text(),
    };
}"""


def test_a_browser_may_send_every_header_that_its_package_adds(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    # HOST is 127.0.0.1: to the browser, the same service as `localhost` is another site.
    page = open_page(f"http://127.0.0.1:{gateway.port}/health/live")
    service = f"http://localhost:{gateway.port}/v1/completions"
    got: dict[str, Any] = page.evaluate(ASK, [service, HEADERS])
    assert got["status"] == 200 and got["ignored"] == "store"
    assert got["text"].endswith("data: [DONE]\n\n")

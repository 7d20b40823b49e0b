"""The operator's page against a real service with keys, and two models of it side by side."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import act, write
from tests.page.axe import axe_finds
from tests.page.conftest import SCREENS, THEMES, OpenPage
from tests.page.gateway_process import GatewayProcess
from tests.page.sibling import CONTEXT, pack_sibling
from tests.patience import PATIENCE

KEY, WRITERS, SPENT = "an operator's key \u2713", "a writer's key", "a key of one token a day"
LIMITS = "alice:weight=4,tokens_per_day=100000;bob:priority=5,tokens_per_day=1"


def make_plain(store: Path, version: str) -> None:
    """Put an archive of a version of `plain` there, a model of another kind."""
    model = {"modelName": "plain", "modelVersion": version, "handler": "plain.py"}
    manifest = {
        "createdOn": "01/01/2026 00:00:00",
        "runtime": "python",
        "model": model,
        "archiverVersion": "0.12.0",
    }
    with zipfile.ZipFile(store / f"plain-{version}.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("plain.py", "def handle(data, context):\n    return data\n")


@pytest.fixture(scope="module")
def managed(
    model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A service with keys, limits, a second model, and two versions of a third."""
    store = tmp_path_factory.mktemp("store")
    shutil.copy(model_store / "gpt2.mar", store)
    pack_sibling(store, tmp_path_factory.mktemp("sibling", numbered=False))
    process = GatewayProcess(
        store,
        tmp_path_factory.mktemp("managed") / "log",
        MANAGEMENT_KEY=KEY,
        API_KEYS=f"alice:{WRITERS},bob:{SPENT}",
        KEY_LIMITS=LIMITS,
    )
    process.start()
    try:
        process.wait_ready()
        ask(process, "POST", "models?url=sibling.mar&model_name=sibling&synchronous=true", KEY)
        for version in ("1.0", "2.0"):
            make_plain(store, version)
            ask(process, "POST", f"models?url=plain-{version}.mar&initial_workers=0", KEY)
        yield process
    finally:
        process.stop()


def ask(
    service: GatewayProcess, method: str, path: str, key: str, body: bytes | None = None
) -> bytes:
    request = urllib.request.Request(service.url + path, data=body, method=method)
    request.add_header("authorization", "Bearer " + key.encode().decode("latin-1"))
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        content: bytes = reply.read()
    return content


def enter(page: Page) -> None:
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#facts")).to_be_visible()


@pytest.fixture
def status(open_page: OpenPage, managed: GatewayProcess) -> Page:
    page = open_page(f"{managed.url}status", viewport={"width": 1280, "height": 900})
    expect(page.locator("#key-form")).to_be_visible()
    enter(page)
    return page


def test_nothing_is_told_without_the_right_key(
    open_page: OpenPage, managed: GatewayProcess
) -> None:
    page = open_page(f"{managed.url}status")
    expect(page.locator("#state")).to_contain_text("management key")
    expect(page.locator("#facts")).to_be_hidden()
    page.fill("#key", WRITERS)
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("did not accept that key")
    expect(page.locator("#facts")).to_be_hidden()
    enter(page)


def test_a_service_without_a_key_says_how_to_open_it(
    open_page: OpenPage, gateway: GatewayProcess
) -> None:
    page = open_page(f"{gateway.url}status")
    expect(page.locator("#state")).to_contain_text("MANAGEMENT_KEY")


def test_it_shows_numbers_models_limits_and_errors(status: Page, managed: GatewayProcess) -> None:
    expect(status.locator("#state")).to_contain_text("Ready, up since")
    expect(status.locator("#models h3")).to_have_text(["gpt2", "plain", "sibling"])
    expect(status.locator("#models li").first).to_contain_text("ready, 0 sequences")
    alice = status.locator("#keys tr").filter(has_text="alice")
    expect(alice).to_contain_text("100,000 of 100,000 left")
    expect(status.locator("#keys tr").filter(has_text="bob")).to_contain_text("5")
    body = json.dumps({"prompt": "Once upon a time", "max_tokens": 150, "seed": 1}).encode()
    ask(managed, "POST", "v1/completions", WRITERS, body)
    expect(alice).not_to_contain_text("100,000 of")
    rate = status.locator("[data-gauge=rate] polyline")
    # The tokens that came are a peak of the plot, and stay in sight.
    status.wait_for_function(
        """line => {
            const heights = line.getAttribute("points").split(" ").map((at) => +at.split(",")[1]);
            return Math.max(...heights) > Math.min(...heights);
        }""",
        arg=rate.element_handle(),
    )
    expect(status.locator("[data-gauge=cache]")).to_contain_text("%")
    expect(status.locator("#errors")).to_contain_text("None since the start")
    # The first request overdraws the key's one token, the second is refused.
    ask(managed, "POST", "v1/completions", SPENT, body)
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(managed, "POST", "v1/completions", SPENT, body)
    line = status.locator("#errors tbody tr")
    expect(line).to_have_count(1)
    expect(line).to_contain_text("429")
    expect(line).to_contain_text("token_budget")
    expect(line).to_contain_text("bob")
    expect(line).to_contain_text(refused.value.headers["x-request-id"])
    SCREENS.mkdir(parents=True, exist_ok=True)
    status.screenshot(path=SCREENS / "status-busy.png")


def test_replicas_are_changed_once_that_is_confirmed(status: Page) -> None:
    sibling = status.locator(".model-card").filter(has_text="sibling")
    count = sibling.get_by_label("Replicas of sibling")
    count.fill("2")
    sibling.get_by_role("button", name="Change").click()
    expect(status.locator("#confirm-words")).to_contain_text("from 1 to 2 replicas")
    status.get_by_role("button", name="No").click()
    expect(status.locator("#confirm")).to_be_hidden()
    sibling.get_by_role("button", name="Change").click()
    status.get_by_role("button", name="Yes").click()
    expect(sibling.locator("li[data-state=READY]")).to_have_count(2)
    count.fill("1")
    sibling.get_by_role("button", name="Change").click()
    status.get_by_role("button", name="Yes").click()
    expect(sibling.locator("li")).to_have_count(1)


def test_another_version_serves_once_that_is_confirmed(status: Page) -> None:
    plain = status.locator(".model-card").filter(has_text="plain")
    old, new = (plain.locator(f"[data-version='{version}']") for version in ("1.0", "2.0"))
    expect(old).to_contain_text("serves")
    new.get_by_role("button", name="Have it serve").click()
    expect(status.locator("#confirm-words")).to_contain_text("Make version 2.0 the default")
    status.get_by_role("button", name="Yes").click()
    expect(new).to_contain_text("serves")
    expect(old.get_by_role("button", name="Have it serve")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_nothing_is_cut_off(
    open_page: OpenPage, managed: GatewayProcess, width: int
) -> None:
    page = open_page(
        f"{managed.url}status", bypass_csp=True, viewport={"width": width, "height": 844}
    )
    enter(page)
    expect(page.locator("#models h3").first).to_be_visible()
    assert axe_finds(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    SCREENS.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.screenshot(path=SCREENS / f"status-{width}-{theme}.png", full_page=True)


# Bits a character of a text that each model reads at once, as the service has it.
WEIGHT = """async ([text, model, key]) => {
    const request = { model, prompt: text, echo: true, logprobs: 0, max_tokens: 0 };
    const reply = await fetch("v1/completions", {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
        body: JSON.stringify(request),
    });
    const { tokens, token_logprobs: logprobs } = (await reply.json()).choices[0].logprobs;
    const sum = logprobs.slice(1).reduce((all, value) => all - value, 0);
    return sum / Math.LN2 / (text.length - tokens[0].length);
}"""


def read_with_both(page: Page, text: str) -> list[float]:
    """Have both models read a text; what each says it weighs."""
    page.evaluate("key => sessionStorage.setItem('access-key', key)", WRITERS)
    page.reload()
    page.wait_for_selector("#examples button", state="attached")
    write(page, text)
    act(page, "certainty")
    page.click("#survey-read")
    page.get_by_role("button", name="Read it with this model").click()
    columns = page.locator("#survey section")
    expect(columns).to_have_count(2)
    expect(columns.locator("h2")).to_have_text(["gpt2 (gpt2-tales)", "sibling"])
    weights = page.locator(".survey-weight").all_text_contents()
    return [float(words.split()[0]) for words in weights]


def test_two_models_read_one_text_side_by_side(
    open_page: OpenPage, managed: GatewayProcess
) -> None:
    page = open_page(managed.url)
    text = "He went home to his mother and said good night. " * 3
    weights = read_with_both(page, text)
    for weight, model in zip(weights, ("gpt2", "sibling"), strict=True):
        assert weight == pytest.approx(page.evaluate(WEIGHT, [text, model, WRITERS]), abs=0.006)
    assert weights[0] < weights[1], "what was damaged knows the text less well"


def test_each_model_reads_a_long_text_in_windows_of_its_own_context(
    open_page: OpenPage, managed: GatewayProcess
) -> None:
    page = open_page(managed.url)
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json or {}))
    weights = read_with_both(page, "The little fox went out to see the sea. " * 30)
    assert all(0 < weight < 8 for weight in weights)
    read = [body for body in asked if body.get("echo")]
    mine = [body for body in read if body.get("model") != "sibling"]
    its = [body for body in read if body.get("model") == "sibling"]
    assert len(mine) == 1 and len(its) > 3
    assert max(len(body["prompt"]) for body in its) == CONTEXT

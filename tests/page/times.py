"""What a key costs in a long text, and how soon the page is there, by the browser's own trace.

python -m tests.page.times http://localhost:8080/    (./scripts/serve runs beside it)

Everything else that runs is measured too: leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.page.conftest import BE_TAUGHT, CHROMIUM, FLAGS
from tests.page.test_load import TRANSFERRED
from tests.page.test_long_texts import BRANCHES, CHARACTERS, FILL

CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
FRAME_MS, LOAD_MS, LOAD_BYTES = 16, 500, 150_000
MANNERS = ("plain", "focus", "typewriter")
# Between two keys of a quick typist (100 words a minute), with room for what follows a frame.
PAUSE_MS = 100
LOADED = """() => {
    const { startTime } = performance.getEntriesByName("first-contentful-paint")[0];
    const { domContentLoadedEventEnd: read } = performance.getEntriesByType("navigation")[0];
    return { painted: startTime, read };
}"""


@dataclass(frozen=True)
class Key:
    """One key, in milliseconds of the thread that runs the page.

    Attributes:
        frame: from the key to the frame that shows it, as long as the thread was at it.
        processor: of that, what it computed; a neighbour that took the processor is not in it.
        after: the longest task between that frame and the next key.
    """

    frame: float
    processor: float
    after: float


def keys_of(events: list[dict[str, Any]]) -> list[Key]:
    """Read a trace: what the thread that ran the keys did for each."""
    pressed = [
        event
        for event in events
        if event["name"] == "EventDispatch" and event["args"]["data"]["type"] == "keydown"
    ]
    if not pressed:
        raise ValueError("the trace has no keys in it: another Chromium, with other names?")
    thread = pressed[0]["pid"], pressed[0]["tid"]
    own = [event for event in events if (event["pid"], event["tid"]) == thread and "dur" in event]
    tasks = sorted(
        (event["ts"], event["dur"], event.get("tdur", event["dur"]))
        for event in own
        if event["name"] == "RunTask"
    )
    painted = sorted(event["ts"] for event in own if event["name"] in ("Paint", "Commit"))
    starts = [event["ts"] for event in pressed] + [float("inf")]
    found = []
    for start, end in zip(starts, starts[1:], strict=False):
        at = bisect_left(painted, start)
        frame = painted[at] if at < len(painted) else end
        # The task that the key came with had begun before it was told of.
        mine = [task for task in tasks if task[0] + task[1] > start and task[0] < end]
        before = [task for task in mine if task[0] <= frame]
        took = sum(min(dur, ts + dur - start) for ts, dur, _ in before)
        computed = sum(own for *_, own in before)
        after = max((dur for ts, dur, _ in mine if ts > frame), default=0)
        found.append(Key(took / 1000, computed / 1000, after / 1000))
    return found


def open_long_text(context: BrowserContext, url: str) -> Page:
    """Show a text of CHARACTERS with BRANCHES."""
    page = context.new_page()
    page.goto(url)
    page.evaluate(FILL, [CHARACTERS, BRANCHES])
    page.close()
    # A tab that has written nothing opens the text that was changed last.
    page = context.new_page()
    page.goto(url)
    page.wait_for_function("() => document.querySelector('#text').value.length > 1000")
    return page


def type_keys(browser: Browser, page: Page, place: int, keys: int) -> list[Key]:
    """Type at a place, and trace it."""
    page.locator("#text").focus()
    page.evaluate(f"() => document.querySelector('#text').setSelectionRange({place}, {place})")
    for _ in range(5):  # What is laid out once is no key's.
        page.keyboard.press("x")
        page.wait_for_timeout(PAUSE_MS)
    browser.start_tracing(page=page, categories=CATEGORIES)
    for _ in range(keys):
        page.keyboard.press("x")
        page.wait_for_timeout(PAUSE_MS)
    return keys_of(json.loads(browser.stop_tracing())["traceEvents"])


def line_of(name: str, values: list[float], most: float) -> str:
    """Give a row: median, 95th percentile, most, and whether that is within the bound."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    verdict = "ok" if p95 < most else "OVER"
    return f"{name:28}{statistics.median(ordered):9.1f}{p95:9.1f}{ordered[-1]:9.1f}  {verdict}"


def measure_keys(browser: Browser, url: str, keys: int) -> None:
    """Print what keys cost, in every manner, at the start, in the middle and at the end."""
    print(f"{CHARACTERS:,} characters, {BRANCHES:,} branches, {keys} keys a row; ms")
    print(f"{'':28}{'median':>9}{'p95':>9}{'most':>9}  below {FRAME_MS}")
    for manner in MANNERS:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_init_script(BE_TAUGHT)
        page = open_long_text(context, url)
        if manner != "plain":
            page.click("[popovertarget=more]")
            page.click(f"[data-act={manner}]")
            page.keyboard.press("Escape")
        for where, place in (("start", 0), ("middle", CHARACTERS // 2), ("end", CHARACTERS)):
            found = type_keys(browser, page, place, keys)
            print(line_of(f"{manner}, {where}", [key.frame for key in found], FRAME_MS))
            print(line_of("  of it computing", [key.processor for key in found], FRAME_MS))
            print(line_of("  longest task after", [key.after for key in found], 50))
        context.close()


def measure_load(browser: Browser, url: str, rounds: int) -> None:
    """Print what the page transfers, and when it is there, each time with an empty cache."""
    painted, read = [], []
    for _ in range(rounds):
        context = browser.new_context(service_workers="block")
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector("#examples button", state="attached")
        page.evaluate("() => document.fonts.ready")
        times = page.evaluate(LOADED)
        painted.append(times["painted"])
        read.append(times["read"])
        sizes = dict(page.evaluate(TRANSFERRED))
        context.close()
    print(f"\nload, {rounds} times with an empty cache; ms")
    print(line_of("first words on the screen", painted, LOAD_MS))
    print(line_of("all scripts have run", read, LOAD_MS))
    total = sum(sizes.values())
    verdict = "ok" if total < LOAD_BYTES else "OVER"
    print(f"{total:,} bytes transferred, {len(sizes)} files  {verdict}")


def main() -> int:
    """Measure a service that runs."""
    parser = argparse.ArgumentParser(description="What a key costs, and how soon the page is there")
    parser.add_argument("url", help="of a running service, such as http://localhost:8080/")
    parser.add_argument("--keys", type=int, default=60, help="keys a row (default 60)")
    parser.add_argument("--rounds", type=int, default=7, help="loads (default 7)")
    args = parser.parse_args()
    if CHROMIUM is None:
        print("no Chromium on this machine (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        measure_keys(browser, args.url, args.keys)
        measure_load(browser, args.url, args.rounds)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Debian's Firefox, driven over WebDriver BiDi, which it speaks itself: no driver is needed."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp

from tests.patience import PATIENCE

LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
# What would ask the network, or the person, at a first start.
PREFERENCES = """
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.aboutwelcome.enabled", false);
user_pref("app.update.enabled", false);
user_pref("intl.accept_languages", "en");
"""


class Firefox:
    """One window of a Firefox with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        (profile / "user.js").write_text(PREFERENCES)
        self._log = profile / "stderr"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "--headless", "--remote-debugging-port=0", "--profile", str(profile)],
                stdout=log,
                stderr=log,
            )
        # Playwright's loop has this thread.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._number = 0
        self.faults: list[str] = []
        self._run(self._connect())
        self._call("session.new", capabilities={})
        self._call("session.subscribe", events=["log.entryAdded"])
        tree = self._call("browsingContext.getTree")
        self._window = tree["contexts"][0]["context"]

    def close(self) -> None:
        """End it."""
        self._run(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
        self._process.terminate()
        self._process.wait(PATIENCE)

    def open(self, url: str) -> None:
        """Go to an address, and wait until it is loaded."""
        self._call("browsingContext.navigate", context=self._window, url=url, wait="complete")

    def reload(self) -> None:
        """Load the page again."""
        self._call("browsingContext.reload", context=self._window, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return what an expression is, or comes to; a simple value."""
        reply = self._call(
            "script.evaluate",
            expression=expression,
            target={"context": self._window},
            awaitPromise=True,
        )
        assert reply["type"] == "success", reply
        return reply["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Press keys one after the other; in one of several letters they are held together."""
        acts: list[dict[str, str]] = []
        for key in keys:
            held = [SPECIAL.get(part, part) for part in key.split("+")] if len(key) > 1 else [key]
            acts += [{"type": "keyDown", "value": each} for each in held]
            acts += [{"type": "keyUp", "value": each} for each in reversed(held)]
        source = {"type": "key", "id": "keys", "actions": acts}
        self._call("input.performActions", context=self._window, actions=[source])

    def write(self, text: str) -> None:
        """Type a text."""
        self.press(*text)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._run(self._ask(method, params))
        return result

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _connect(self) -> None:
        while not (found := LISTENING.search(self._log.read_bytes())):
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            await asyncio.sleep(0.05)
        self._session = aiohttp.ClientSession()
        address = found[1].decode().rstrip("/") + "/session"
        self._socket = await self._session.ws_connect(address, max_msg_size=0)

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                if entry["level"] == "error":
                    self.faults.append(entry["text"])
            elif message.get("id") == self._number:
                assert message["type"] == "success", message
                result: dict[str, Any] = message["result"]
                return result


SPECIAL = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "Control": "\ue009",
    "Alt": "\ue00a",
    "End": "\ue010",
    "Home": "\ue011",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
}

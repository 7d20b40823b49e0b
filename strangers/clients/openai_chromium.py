"""OpenAI's npm package in a real Chromium, on a page of another origin than the service's."""

import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from common import ANSWER, MANY, MODEL, PROMPT, TALK, TEXT, TOKENS, URL, has_left, main, same
from playwright.sync_api import sync_playwright

ASKED = {"model": MODEL, "prompt": PROMPT, "temperature": 0, "max_tokens": TOKENS}
CHAT = {"model": MODEL, "messages": TALK, "temperature": 0, "max_tokens": TOKENS}
START = """async (base) => {
  const { default: OpenAI } = await import("/openai/index.mjs");
  window.client = new OpenAI({ baseURL: base, apiKey: "none", dangerouslyAllowBrowser: true });
}"""
STREAM = """async (asked) => {
  let text = "";
  for await (const part of await client.completions.create({ ...asked, stream: true }))
    text += part.choices[0].text;
  return text;
}"""
LEAVE = """async (asked) => {
  for await (const part of await client.completions.create({ ...asked, stream: true }))
    if (part) break;
}"""
ERROR = """async (asked) => {
  try {
    await client.completions.create(asked);
  } catch (error) {
    return [error.status, error.param, error.requestID !== null];
  }
}"""


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _page() -> object:
    """A page with the package's client in it."""
    serve = functools.partial(_Quiet, directory=os.environ["NODE_MODULES"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    started = sync_playwright().start().chromium
    browser = started.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/openai/package.json")
    page.evaluate(START, URL + "/v1")
    return page


PAGE = _page()


def ask(code: str, value: object) -> object:
    """What a piece of JavaScript makes of a value."""
    return PAGE.evaluate(code, value)


def call() -> None:
    """A text, and an answer."""
    create = "async (asked) => (await client.%s.create(asked)).choices[0]"
    same(ask(create % "completions", ASKED)["text"], TEXT)
    same(ask(create % "chat.completions", CHAT)["message"]["content"], ANSWER)


def stream() -> None:
    """The same in parts."""
    same(ask(STREAM, ASKED), TEXT)


def cancel() -> None:
    """Leave a stream."""
    ask(LEAVE, {**ASKED, "max_tokens": MANY})
    has_left()


def error() -> None:
    """A value that is not allowed; the reply's headers can be read."""
    same(ask(ERROR, {**ASKED, "temperature": 9}), [400, "temperature", True])


def retry() -> None:
    """It comes back by itself."""
    same(ask("async (a) => (await client.completions.create(a)).choices[0].text", ASKED), TEXT)


main(call, stream, cancel, error, retry)
os._exit(0)

"""A small real HTTP server that writes by seed, as the service does, and takes so many at once."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = {"data": [{"id": "gpt2", "content_sha256": "one"}]}


class Busy:
    """What it does, and what it saw."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.models: dict[str, Any] = MODELS
        self.url = ""
        self.refused = 0
        self.largest = 0
        self.answered: list[str] = []
        self.before: Callable[[str], None] = lambda prompt: time.sleep(random.uniform(0, 0.01))
        self._inside = 0
        self._lock = threading.Lock()

    def answer(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        if path == "/v1/models":
            return 200, self.models
        with self._lock:
            if self._inside >= self.most:
                self.refused += 1
                return 429, {"error": {"message": "too many"}}
            self._inside += 1
            self.largest = max(self.largest, self._inside)
        try:
            self.before(body["prompt"])
            if body["prompt"] == "bad":
                return 400, {"error": {"message": "no", "type": "invalid_request_error"}}
            return 200, written(body)
        finally:
            with self._lock:
                self._inside -= 1
                self.answered.append(body["prompt"])


def written(body: Any) -> dict[str, Any]:
    """A reply of which the text follows from the seed, and nothing else from anything."""
    luck = random.SystemRandom()
    return {
        "id": f"cmpl-{luck.randbytes(16).hex()}",
        "created": luck.randrange(10**9),
        "choices": [{"index": 0, "text": f"{body['prompt']} {body['seed']}"}],
        "usage": {
            "prompt_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": luck.randrange(9), "truncated_tokens": 0},
        },
    }


@contextmanager
def busy_server(most: int = 1000) -> Iterator[Busy]:
    busy = Busy(most)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = busy.answer(self.path, json.loads(raw) if raw else None)
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that is killed is part of the tests, not worth a trace."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    busy.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield busy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

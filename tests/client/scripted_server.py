"""A small real HTTP server that answers as a test tells it, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """`pieces` go out as chunks, `hold` keeps the end back, `cut` leaves the end out."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] | None = None
    cut: bool = False
    pause: Callable[[], None] = lambda: None
    hold: threading.Event | None = None


class Scripted:
    def __init__(self, answers: list[Answer]) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.url = ""


@contextmanager
def scripted(*answers: Answer) -> Iterator[Scripted]:
    script = Scripted(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(raw) if raw else None
            script.asked.append(Asked(self.command, self.path, headers, body))
            answer = script.answers.pop(0)
            answer.pause()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.pieces is None:
                payload = json.dumps(answer.body if answer.body is not None else {}).encode()
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in answer.pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            if answer.hold:
                answer.hold.wait(PATIENCE)
            if answer.cut:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is part of the tests, not worth a trace."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "gpt2",
    "choices": [{"index": 0, "text": " there", "finish_reason": "length", "logprobs": None}],
    "usage": {
        "prompt_tokens": 2,
        "completion_tokens": 1,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
}


def chunk(text: str, index: int = 0, finish: str | None = None) -> bytes:
    choice = {"index": index, "text": text, "finish_reason": finish, "logprobs": None}
    body = {"id": "c", "object": "text_completion", "choices": [choice]}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


USAGE = (
    b'data: {"id":"c","object":"text_completion","choices":[],'
    b'"usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4}}\n\n'
)
END = b"data: [DONE]\n\n"

"""A hub on this machine: what huggingface_hub asks of huggingface.co, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of_the_test"
REVISIONS = ("main", "v1.2")
# Closed with this set, a connection is reset: what a network lost in mid-download looks like.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FakeHub(ThreadingHTTPServer):
    """Serves one model; `trouble` says what goes wrong with it."""

    def __init__(self, model: str, files: dict[str, bytes], trouble: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.model = model
        self.files = files
        self.trouble = trouble
        self.downloaded: set[str] = set()
        self.started_at: dict[str, int] = {}  # the byte from which a file was asked for last

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Asked(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, model = urlsplit(self.path).path, self.server.model
        information, files = f"/api/models/{model}", f"/{model}/resolve/{COMMIT}/"
        if self.server.trouble == "broken":
            self._refuse(503)
        elif self.server.trouble == "private" and not self._may_read():
            self._refuse(401, "RepoNotFound")  # as the hub says it to whom it does not know
        elif path in (information, *(f"{information}/revision/{name}" for name in REVISIONS)):
            names = [{"rfilename": name} for name in self.server.files]
            self._json({"id": model, "sha": COMMIT, "siblings": names})
        elif path == f"{information}/tree/{COMMIT}":
            self._json([_entry(*file) for file in self.server.files.items()])
        elif path.startswith(f"{information}/revision/"):
            self._refuse(404, "RevisionNotFound")
        elif not path.startswith(files):
            self._refuse(404, "RepoNotFound")
        elif self.server.trouble == "gated":
            self._refuse(403, "GatedRepo")
        else:
            self._file(path.removeprefix(files))

    def _may_read(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {TOKEN}"

    def _file(self, name: str) -> None:
        content = self.server.files[name]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.server.downloaded.add(name)
        self.server.started_at[name] = start
        if self.server.trouble == "closed" and name.endswith(".safetensors"):
            self.server.trouble = ""  # once, as a network that comes back
            self.wfile.write(content[start : len(content) // 2])
            self.close_connection = True
            return
        if self.server.trouble == "cut" and name.endswith(".safetensors"):
            self.wfile.write(content[start : len(content) // 2])
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _entry(name: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": digest}


@contextmanager
def hub(model: str, files: dict[str, bytes], trouble: str = "") -> Iterator[FakeHub]:
    """Run a hub that has `model`."""
    with FakeHub(model, files, trouble) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

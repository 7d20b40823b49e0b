"""Stands where Java would: keeps every byte that reaches TorchServe's ports, and answers like it.

A script of its own, which the gateway starts as it starts TorchServe.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import threading

DESCRIPTION = [
    {"modelVersion": "1.0", "modelUrl": "gpt2.mar", "workers": [{"status": "READY", "pid": 0}]}
]
CARD = {"data": [{"id": "gpt2", "context_length": 512}]}
COMPLETION = {"choices": [{"index": 0, "text": " there", "finish_reason": "length"}]}
PORTS = ("INFERENCE", "MANAGEMENT", "METRICS")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    name: str


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        while received := self._read():
            with open(os.environ["RECORD"], "a", encoding="ascii") as record:
                record.write(json.dumps([self.server.name, received.decode("latin-1")]) + "\n")
            body = json.dumps(answer(received)).encode()
            head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self.wfile.write((head % len(body)).encode() + body)

    def _read(self) -> bytes:
        """A whole request, or whatever came before the connection's end."""
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return received
            received += line
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", received)
        return received + self.rfile.read(int(length[1]) if length else 0)


def answer(request: bytes) -> object:
    path = request.split(b" ")[1]
    if not path.startswith(b"/predictions/"):
        return DESCRIPTION
    return CARD if path.endswith(b"/v1/models") else COMPLETION


if __name__ == "__main__":
    threads = []
    for name in PORTS:
        server = Server(("127.0.0.1", int(os.environ[f"TS_PORT_{name}"])), Handler)
        server.name = name.lower()
        threads.append(threading.Thread(target=server.serve_forever))
        threads[-1].start()
    for thread in threads:  # Python 3.12 begins no thread once the main one has ended
        thread.join()

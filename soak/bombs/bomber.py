"""Eight at once send a bomb again and again, as a process of its own.

Run as a script it is that process: `bomber.py PORT PATH`, the body on standard input. It gives way
to others on the machine: what is measured is the service, not who gets the cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from soak.bombs.kinds import Bomb
from soak.store import ROOT

AT_ONCE = 8
PATIENCE = 120.0
READY = b"bombing\n"


class BomberFailed(Exception):
    """The bombs did not fall while something was measured."""


@contextlib.contextmanager
def bombing(port: int, bomb: Bomb) -> Iterator[None]:
    """Send a bomb all the time; begins when two were answered.

    Raises:
        BomberFailed: It did not begin, or ended by itself.
    """
    command = [sys.executable, "-m", "soak.bombs.bomber", str(port), bomb.path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as bomber:
        try:
            assert bomber.stdin is not None and bomber.stdout is not None
            with bomber.stdin as body:
                body.write(json.dumps(bomb.body).encode())
            if bomber.stdout.readline() != READY:
                raise BomberFailed(f"{bomb.path}: no bomb was answered")
            yield
            if bomber.poll() is not None:
                raise BomberFailed(f"{bomb.path}: the bombs ended by themselves")
        finally:
            bomber.kill()


def main(port: int, path: str, content: bytes) -> None:
    """Send bombs until the process is killed."""
    os.nice(19)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    whole = head.encode() + content
    answered = threading.Semaphore(0)

    def send_again_and_again() -> None:
        while True:
            try:
                made = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            except OSError:
                os._exit(1)  # nobody listens: an exception would end this thread alone
            with made, contextlib.suppress(OSError):
                made.sendall(whole)
                while made.recv(1 << 20):
                    pass
            answered.release()

    for _ in range(AT_ONCE):
        threading.Thread(target=send_again_and_again, daemon=True).start()
    for _ in range(2):
        answered.acquire()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.stdin.buffer.read())

"""TorchServe's worker alone, spoken to as Java does: its Python need not be this one."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.patience import PATIENCE, wait_until

PROGRAM = Path(__file__).parents[2] / "gateway" / "launch" / "worker" / "model_service_worker.py"
METRICS = "import ts, os; print(os.path.join(os.path.dirname(ts.__file__), 'configs/metrics.yaml'))"
HEADERS = {"content-type": "application/json"}
END = struct.pack("!i", -1)


def field(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return struct.pack("!i", len(content)) + content


class Worker:
    """A worker of an unpacked archive, and its end of a socket."""

    def __init__(self, python: Path | str, model: Path, place: Path) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(place)}
        found = subprocess.run([python, "-c", METRICS], env=environment, capture_output=True)
        name = place / ".ts.sock.9000"
        command = [python, PROGRAM, "--sock-type", "unix", "--sock-name", name]
        command += ["--metrics-config", found.stdout.decode().strip()]
        self._log = (place / "worker.log").open("wb")
        self._process = subprocess.Popen(
            command, cwd=model, env=environment, stdout=self._log, stderr=self._log
        )
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)

        def is_heard() -> bool:
            assert self._process.poll() is None, self.log
            return self._socket.connect_ex(str(name)) == 0

        try:
            wait_until(is_heard)
            self._load(model)
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def _load(self, model: Path) -> None:
        message = b"L" + field("gpt2") + field(str(model)) + struct.pack("!i", 8)
        message += field("gpt2_handler.py") + struct.pack("!i", -1) + field("") + b"\x01"
        self._socket.sendall(message)
        code, _ = self._number(), self._text()
        assert code == 200, self.log
        assert self._number() == -1

    def ask(self, bodies: Mapping[str, bytes]) -> dict[str, str]:
        """Send requests at once; return what each was answered with, whole."""
        answers = dict.fromkeys(bodies, "")
        waiting = dict(bodies)
        is_new = True
        while waiting:
            message = b"I"
            for name, body in waiting.items():
                message += field(name)
                if is_new:
                    message += b"".join(field(each) for pair in HEADERS.items() for each in pair)
                message += END
                if is_new:
                    message += field("body") + field(HEADERS["content-type"]) + field(body)
                message += END
            self._socket.sendall(message + END)
            is_new = False
            for name, text, goes_on in self._chunks():
                answers[name] += text
                if not goes_on:
                    del waiting[name]
        return answers

    def _chunks(self) -> list[tuple[str, str, bool]]:
        """One reply of the worker: of each request its id, what is new, and whether it goes on."""
        assert self._number() == 200, self._text()
        self._text()
        chunks = []
        while (length := self._number()) >= 0:
            name = self._bytes(length).decode()
            self._text()
            self._number()
            self._text()
            headers = [(self._text(), self._text()) for _ in range(self._number())]
            chunks.append((name, self._text(), dict(headers).get("ts_stream_next") == "true"))
        return chunks

    def _bytes(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            piece = self._socket.recv(length - len(found))
            assert piece, self.log
            found += piece
        return found

    def _number(self) -> int:
        (number,) = struct.unpack("!i", self._bytes(4))
        return int(number)

    def _text(self) -> str:
        return self._bytes(self._number()).decode()

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.kill()
        self._process.wait(PATIENCE)
        self._log.close()

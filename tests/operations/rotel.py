"""A receiver of OTLP that nobody here wrote, and what came through it."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_ports
from tests.patience import PATIENCE, wait_until


@dataclass(frozen=True)
class Span:
    """One span, as plain values."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    begin: int
    end: int
    attributes: dict[str, Any]
    service: str
    is_error: bool


class Received:
    """The spans that rotel passed on."""

    def __init__(self, grpc: str, http: str) -> None:
        self.grpc = grpc
        self.http = http
        self.spans: list[Span] = []

    def of(self, trace: str) -> dict[str, Span]:
        """A trace's spans by their names."""
        return {span.name: span for span in list(self.spans) if span.trace == trace}


def value(any_value: Any) -> Any:
    """A value of OTLP as Python's."""
    kind = any_value.WhichOneof("value")
    found = getattr(any_value, kind) if kind else None
    return [value(each) for each in found.values] if kind == "array_value" else found


def read(body: bytes) -> Iterator[Span]:
    """The spans of one export."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {each.key: value(each.value) for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    {each.key: value(each.value) for each in span.attributes},
                    about.get("service.name", ""),
                    span.status.code == 2,
                )


def program() -> Path:
    """rotel's own, from its package."""
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        pytest.skip("rotel is not installed (the group test of pyproject.toml)")
    return Path(found.origin).parent / "rotel-agent"


@contextlib.contextmanager
def receiving(folder: Path) -> Iterator[Received]:
    """Run rotel, which takes spans over gRPC and HTTP, and hand over what it passes on."""
    agent = program()
    grpc, http = (f"127.0.0.1:{port}" for port in free_ports(2))
    received = Received(f"http://{grpc}", f"http://{http}")

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.spans += read(gzip.decompress(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    with (folder / "rotel.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(agent, "start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"),
                *("--otlp-exporter-endpoint", f"http://127.0.0.1:{sink.server_port}"),
                *("--otlp-grpc-endpoint", grpc, "--otlp-http-endpoint", http),
                *("--log-file", str(folder / "agent.log")),
            ],
            stdout=log,
            stderr=log,
        )
        try:
            for address in (grpc, http):
                wait_until(lambda address=address: _listens(address))  # type: ignore[misc]
            yield received
        finally:
            process.terminate()
            process.wait(PATIENCE)
            sink.shutdown()
            sink.server_close()


def _listens(address: str) -> bool:
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False

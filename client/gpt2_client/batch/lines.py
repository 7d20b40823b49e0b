"""One line of a batch file: the request in it, and the line that answers it. Knows no server.

Nothing of a reply that depends on chance or load is kept: ids and, where none is given, the seed
come from the file's digest and the `custom_id`, `created` from the batch's first start, and
`cached_tokens`, which depends on what the server happened to know, is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What is sent on. The service answers for those of them that it does not have.
URLS = ("/v1/completions", "/v1/chat/completions", "/v1/embeddings")
SEEDED = ("/v1/completions", "/v1/chat/completions")


class LineError(Exception):
    """A line that cannot be sent; `code` in OpenAI's words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """A line that can be sent."""

    url: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Labels:
    """What the answer of one line is called, whenever and however often it is asked for."""

    custom_id: str | None
    digest: str
    line: int

    def hash(self, purpose: str) -> bytes:
        """32 bytes that depend on the file, the line's `custom_id` and the purpose."""
        own = f"line {self.line}" if self.custom_id is None else f"id {self.custom_id}"
        return hashlib.sha256(
            f"{purpose}\n{self.digest}\n{own}".encode("utf-8", "surrogatepass")
        ).digest()

    def id(self, prefix: str) -> str:
        """An id as OpenAI's look: `cmpl-...`, `req_...`."""
        return prefix + self.hash(prefix)[:16].hex()

    @property
    def seed(self) -> int:
        """63 bits, as the service takes them."""
        return int.from_bytes(self.hash("seed")[:8], "big") >> 1


def read(data: bytes, number: int, digest: str) -> tuple[Labels, Request | LineError]:
    """Read line `number` (from 1) of the file with this digest."""
    labels = Labels(None, digest, number)
    try:
        value = _parse(data, number)
        custom_id = value.get("custom_id")
        if not isinstance(custom_id, str):
            raise LineError(
                "missing_required_parameter", f"line {number}: `custom_id` must be a string"
            )
        labels = Labels(custom_id, digest, number)
        return labels, _request(value, labels)
    except LineError as error:
        return labels, error


def _parse(data: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte 0x{data[error.start]:02X} at position {error.start})"
    except (ValueError, RecursionError):
        reason = "is not JSON"
    else:
        if isinstance(value, dict):
            return value
        reason = "is not a JSON object"
    raise LineError("invalid_json_line", f"line {number} {reason}")


def _request(value: Mapping[str, Any], labels: Labels) -> Request:
    where = f"line {labels.line}"
    if value.get("method") != "POST":
        raise LineError("invalid_method", f"{where}: `method` must be POST")
    url, body = value.get("url"), value.get("body")
    if url not in URLS:
        raise LineError("invalid_url", f"{where}: `url` must be one of {', '.join(URLS)}")
    if not isinstance(body, dict):
        raise LineError("missing_required_parameter", f"{where}: `body` must be an object")
    if body.get("stream"):
        raise LineError("invalid_request", f"{where}: `stream` is not supported in a batch")
    if url in SEEDED and body.get("seed") is None:
        body = {**body, "seed": labels.seed}
    return Request(url, body)


def answered(labels: Labels, status: int, body: Mapping[str, Any], created: int) -> bytes:
    """The line for what the service answered, an error of its own included."""
    kept = dict(body)
    if "id" in kept:
        kept["id"] = labels.id(str(kept["id"]).partition("-")[0] + "-")
    if "created" in kept:
        kept["created"] = created
    usage = kept.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    if isinstance(usage, dict) and isinstance(details, dict):
        details = {name: value for name, value in details.items() if name != "cached_tokens"}
        kept["usage"] = {**usage, "prompt_tokens_details": details}
    response = {"status_code": status, "request_id": labels.id("req_"), "body": kept}
    return _line(labels, response, None)


def failed(labels: Labels, error: LineError) -> bytes:
    """The line for what the service was not asked, or did not answer."""
    return _line(labels, None, {"code": error.code, "message": str(error)})


def is_failure(line: bytes) -> bool:
    """Whether an answered line reports anything but success."""
    response = json.loads(line)["response"]
    return response is None or response["status_code"] != 200


def _line(
    labels: Labels, response: Mapping[str, Any] | None, error: Mapping[str, Any] | None
) -> bytes:
    value = {
        "id": labels.id("batch_req_"),
        "custom_id": labels.custom_id,
        "response": response,
        "error": error,
    }
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a character, which JSON can hold and UTF-8 cannot
        return json.dumps(value).encode() + b"\n"

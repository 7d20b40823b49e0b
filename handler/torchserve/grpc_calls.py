"""Requests that came over gRPC: TorchServe's job for them can be answered once, and once only.

It counts itself closed after its first chunk in continuous batching, so that a first chunk without
text is an empty text to the client. What is not answered in a step comes again in the next one: a
text that is still being written is left out of the step's reply until it is complete.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from handler.content.json_text import to_json
from handler.replies.pending_reply import Json
from handler.replies.reply import WholeReply

SERVICE = "ts.service"
ENCODER = "create_predict_response"
ASK_OVER_HTTP = (
    "This request is not supported over gRPC here; send it over HTTP: POST /predictions/{model}"
)
# TorchServe's own, of StreamPredictions2.
SEQUENCE_HEADERS = "ts_request_sequence_"


def came_by_grpc(headers: Mapping[str, Any]) -> bool:
    """Tell whether a request has no headers but those of its fields, as gRPC's never have."""
    return not any(
        isinstance(value, str) and not name.startswith(SEQUENCE_HEADERS)
        for name, value in headers.items()
    )


def let_rows_wait() -> bool:
    """Have TorchServe leave rows that are None out of a step's reply.

    Returns whether this TorchServe is built so that it can.
    """
    service = importlib.import_module(SERVICE)
    encode = getattr(service, ENCODER, None)
    if encode is None:
        return False

    def encode_answered(rows: Any, ids: dict[int, str], *rest: Any, **named: Any) -> Any:
        if rows is not None:
            ids = {index: name for index, name in ids.items() if rows[index] is not None}
        return encode(rows, ids, *rest, **named)

    setattr(service, ENCODER, encode_answered)
    return True


def holds_object(body: Any) -> bool:
    """Tell whether a body is a JSON object: no content type of gRPC says so."""
    return bool(_json_object(body))


def refuse_tensors(body: Any) -> WholeReply | None:
    """Answer a call of KServe's ModelInfer with an error in the one shape TorchServe can send on.

    Anything else ends its worker's thread, and what neighbours are reading with it.
    """
    call = _json_object(body)
    if "model_name" not in call or not isinstance(call.get("inputs"), list):
        return None
    output = {"name": "error", "shape": [1], "datatype": "BYTES", "data": [ASK_OVER_HTTP]}
    reply: Json = {
        "id": str(call.get("id") or ""),
        "model_name": str(call["model_name"]),
        "model_version": "",
        "outputs": [output],
    }
    return WholeReply(to_json(reply))


def _json_object(body: Any) -> Json:
    try:
        value = json.loads(body) if isinstance(body, (bytes, bytearray, str)) else body
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

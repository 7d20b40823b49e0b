"""What a grammar or token rules leave nothing of: the request's own fault, whenever it shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.conftest import Service

FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "a grammar that grows as it is followed": (
        {"guided_regex": "(a|b|[c-z]{1,200}){1,500}x", "temperature": 1, "seed": 1},
        "invalid_grammar",
    ),
    "a grammar beside tokens of none of its texts": (
        {"guided_regex": "[0-9]{3}", "allowed_token_ids": [300]},
        "nothing_allowed",
    ),
}
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "Once"},
    "/predictions/gpt2": {"prompt": "Once"},
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("fields", "code"), FAILING.values(), ids=FAILING)
def test_it_is_a_400_and_no_failure_of_the_service(
    service: Service, path: str, fields: dict[str, Any], code: str
) -> None:
    failed = service.metric("gpt2_request_failure_total")
    body = {**ROUTES[path], **fields, "max_tokens": 400}
    reply = service.post(path, json=body)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["code"] == code
    assert "retry-after" not in reply.headers
    streamed = service.post(path, json={**body, "stream": True})
    if streamed.status_code == 200:  # it had begun
        events = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: ")]
        assert json.loads(events[-2])["error"]["code"] == code and events[-1] == "[DONE]"
    else:
        assert streamed.status_code == 400 and streamed.json()["error"]["code"] == code
    assert service.metric("gpt2_request_failure_total") == failed

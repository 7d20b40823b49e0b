"""No text, wherever it stands in a request, harms the handler on a TorchServe without a gateway."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.torchserve.process import TorchServe
from tests.handler.completions import TIMEOUT, text
from tests.hostile_texts import (
    ANY_TEXT,
    JSON_ROUTES,
    TEXTS,
    assert_answered,
    spellings,
    variants,
)

COMPLETION = JSON_ROUTES["/v1/completions"]
MOST_BYTES = 6_500_000  # TorchServe itself takes no more
BODIES = {
    "": COMPLETION,
    "/1.0/v1/completions": {**COMPLETION, "stream": True},
    "/1.0/v1/tokenize": JSON_ROUTES["/v1/tokenize"],
    "/1.0/v1/detokenize": JSON_ROUTES["/v1/detokenize"],
}


def as_header(value: bytes) -> bytes:
    return value.translate(None, bytes(range(32)) + b"\x7f").strip()


def ask(server: TorchServe, route: str, body: bytes, **headers: str | bytes) -> None:
    url = f"{server.settings.inference_url}/predictions/gpt2{route}"
    assert_answered(
        requests.post(
            url, data=body, headers={"content-type": "application/json", **headers}, timeout=TIMEOUT
        )
    )


@pytest.fixture(autouse=True)
def it_still_writes(torchserve: TorchServe) -> object:
    """What was asked did not cost the worker."""
    before = text(torchserve, prompt="Once", seed=1)
    yield
    assert text(torchserve, prompt="Once", seed=1) == before


@pytest.mark.parametrize("hostile", TEXTS.values(), ids=TEXTS)
def test_any_text_in_any_place_of_a_body(torchserve: TorchServe, hostile: str) -> None:
    for route, body in BODIES.items():
        chosen = variants(body, hostile) if len(hostile) < 10_000 else [{**body, "model": hostile}]
        for variant in chosen:
            for spelling in spellings(variant):
                if len(spelling) < MOST_BYTES:
                    ask(torchserve, route, spelling)


@settings(max_examples=60, deadline=None)
@given(route=st.sampled_from(sorted(BODIES)), body=st.binary(max_size=60), kind=st.text(max_size=9))
def test_bodies_of_bytes_of_any_type(
    torchserve: TorchServe, route: str, body: bytes, kind: str
) -> None:
    ask(torchserve, route, body, **{"content-type": as_header(kind.encode())})


@settings(max_examples=60, deadline=None)
@given(hostile=ANY_TEXT, value=st.binary(max_size=40))
def test_header_values(torchserve: TorchServe, hostile: str, value: bytes) -> None:
    headers = {
        "x-request-id": as_header(value),
        "x-a": as_header(hostile.encode("utf-8", "ignore")),
    }
    ask(torchserve, "", b'{"prompt":"x","max_tokens":1}', **headers)

"""Tokens that come together travel in one event; nothing else about a stream changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.conftest import Service, StartService, events

OPTIONS = {"prompt": "The old captain", "seed": 5, "max_tokens": 120, "ignore_eos": True, "n": 2}


@pytest.fixture(scope="module")
def gathering(start_service: StartService) -> Service:
    return start_service(STREAM_INTERVAL_MS="100")


def ask(service: Service, **options: Any) -> list[Any]:
    with service.complete(**OPTIONS | {"stream": True} | options) as reply:
        assert reply.status_code == 200, reply.text
        return events(reply)


def joined(data: list[Any], key: str) -> dict[int, Any]:
    """What the events hold of each choice, put together."""
    found: dict[int, Any] = {}
    for event in data:
        for choice in event["choices"] if event != "[DONE]" else ():
            if key == "text":
                found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
            else:
                for name, values in (choice["logprobs"] or {}).items():
                    found.setdefault(choice["index"], {}).setdefault(name, []).extend(values)
    return found


def test_events_hold_several_tokens_and_the_same_text(service: Service, gathering: Service) -> None:
    one_by_one, together = ask(service), ask(gathering)
    assert len(together) < len(one_by_one) / 3
    assert joined(together, "text") == joined(one_by_one, "text")
    whole = gathering.complete(**OPTIONS).json()["choices"]
    assert joined(together, "text") == {choice["index"]: choice["text"] for choice in whole}


def test_log_probabilities_and_usage_are_those_of_each_token(
    service: Service, gathering: Service
) -> None:
    options = {"logprobs": 2, "stream_options": {"include_usage": True}}
    one_by_one, together = ask(service, **options), ask(gathering, **options)
    assert joined(together, "logprobs") == joined(one_by_one, "logprobs")
    assert len(joined(together, "logprobs")[1]["tokens"]) == 120
    assert together[-2]["usage"]["completion_tokens"] == 240


def test_a_stop_string_ends_where_it_does_when_tokens_come_one_by_one(
    service: Service, gathering: Service
) -> None:
    text = joined(ask(service), "text")[0]
    stop = text[len(text) // 2 :][:7]
    for each in (service, gathering):
        data = ask(each, stop=[stop], n=1)
        assert joined(data, "text")[0] == text[: text.index(stop)]

"""Reads from an embeddings request what the gateway needs to know."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gateway.proxy.prediction import JSON_TYPE, Prediction
from gateway.settings import Settings

EMBEDDINGS = "v1/embeddings"


def read_embeddings(
    model: str,
    version: str,
    value: Mapping[str, Any],
    body: bytes,
    settings: Settings,
    card: Mapping[str, Any],
) -> Prediction:
    """Read a request for embeddings, and its JSON; `card` is what the model says of itself.

    However many texts it holds, the engine reads a few of them at a time, and so many it counts as.
    """
    texts = value.get("input")
    count = len(texts) if isinstance(texts, list) and not _are_ids(texts) else 1
    limits = card.get("limits", {})
    return Prediction(
        model,
        version,
        EMBEDDINGS,
        body,
        JSON_TYPE,
        sequences=max(1, min(count, limits.get("inputs_at_once", 1))),
        most_sequences=limits.get("texts", sys.maxsize),
    )


def _are_ids(texts: list[Any]) -> bool:
    return bool(texts) and isinstance(texts[0], (int, float))

"""The quality gate measures whole prompts; what is decoded token by token must be as good."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handler.archive_facts import read_json
from handler.engine.model import Model, ModelShape, load_model
from handler.engine.settings import EngineSettings
from tests.conftest import ROOT
from tests.handler.engines import vocabulary

SLOTS, LENGTH = 32, 128
MOST_GROWTH = 0.01  # of perplexity, as in the gate


def model_of(archive: Path) -> Model:
    directory = archive / "model"
    shape = ModelShape.from_config(read_json(directory / "config.json"))
    return load_model(directory, shape, EngineSettings(slots=SLOTS, threads=2))


def windows(archive: Path) -> np.ndarray:
    """Prose that packaging measures with: int64 [SLOTS, LENGTH]."""
    text = (ROOT / "archive" / "prose" / "evaluation.txt").read_text(encoding="utf-8")
    tokens = vocabulary(archive).encode(text)[: SLOTS * LENGTH]
    return np.array(tokens, np.int64).reshape(SLOTS, LENGTH)


def nats(logits: np.ndarray, tokens: np.ndarray) -> float:
    """Sum over rows of -log p(token); logits [rows, vocab], tokens [rows]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    rows = np.arange(len(tokens))
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, tokens]).sum())


def test_tokens_decoded_with_bytes_in_the_cache_cost_less_than_one_percent(
    archives: dict[str, Path],
) -> None:
    facts = read_json(archives["int8"] / "model" / "archive.json")
    assert facts["precision"] == "int8" and facts["cache"] == "int8"
    text = windows(archives["int8"])
    exact, ours = model_of(archives["fp32"]), model_of(archives["int8"])
    reference = decoded = 0.0
    for slot, window in enumerate(text):
        logits = exact.prefill(slot, window[:-1], 0, LENGTH - 1)
        reference += nats(logits[2:], window[3:])
        ours.prefill(slot, window[:2], 0, 1)
    for position in range(2, LENGTH - 1):
        logits = ours.decode(text[:, position], np.full(SLOTS, position, np.int64))
        decoded += nats(logits, text[:, position + 1])
    growth = np.exp((decoded - reference) / (SLOTS * (LENGTH - 3))) - 1
    assert growth < MOST_GROWTH
    assert 20 < np.exp(reference / (SLOTS * (LENGTH - 3))) < 100  # it is prose that it reads

"""The quality gate measures whole prompts; what is decoded token by token must be as good."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handler.archive_metadata import read_json
from handler.engine.loading import load_model
from handler.engine.model import Model, ModelShape
from handler.engine.settings import EngineSettings
from handler.engine.step import Score
from tests.conftest import ROOT
from tests.handler.engines import vocabulary

SLOTS, LENGTH = 32, 128
MOST_GROWTH = 0.01  # of perplexity, as in the gate


def model_of(archive: Path) -> Model:
    directory = archive / "model"
    shape = ModelShape.from_config(read_json(directory / "config.json"))
    engine = {"slots": SLOTS, "threads": 2, "max_num_batched_tokens": 25 * SLOTS}
    return load_model(directory, shape, EngineSettings.from_mapping(engine))


def windows(archive: Path) -> np.ndarray:
    """Prose that packaging measures with: int64 [SLOTS, LENGTH]."""
    text = (ROOT / "archive" / "prose" / "evaluation.txt").read_text(encoding="utf-8")
    tokens = vocabulary(archive).encode(text)[: SLOTS * LENGTH]
    return np.array(tokens, np.int64).reshape(SLOTS, LENGTH)


def nats(model: Model, tokens: np.ndarray, first: int, last: int) -> float:
    """Compute positions first .. last - 1 of all slots, [SLOTS, LENGTH], in one step.

    Returns the sum of -log p of the token after each.
    """
    slots = np.repeat(np.arange(SLOTS), last - first)
    positions = np.tile(np.arange(first, last), SLOTS)
    rows = np.stack([tokens[slots, positions], slots, positions], axis=1).astype(np.int32)
    following = tokens[slots, positions + 1].tolist()
    answers = model.step(rows, [Score(row, token, 0) for row, token in enumerate(following)])
    return -sum(answer.logprob.logprob for answer in answers if answer.logprob)


def test_tokens_decoded_with_bytes_in_the_cache_cost_less_than_one_percent(
    archives: dict[str, Path],
) -> None:
    metadata = read_json(archives["int8"] / "model" / "archive.json")
    assert metadata["precision"] == "int8" and metadata["cache"] == "int8"
    text = windows(archives["int8"])
    exact, ours = model_of(archives["fp32"]), model_of(archives["int8"])
    reference = decoded = 0.0
    for model in (exact, ours):
        nats(model, text, 0, 2)
    for start in range(2, LENGTH - 1, 25):
        reference += nats(exact, text, start, min(start + 25, LENGTH - 1))
    for position in range(2, LENGTH - 1):
        decoded += nats(ours, text, position, position + 1)
    growth = np.exp((decoded - reference) / (SLOTS * (LENGTH - 3))) - 1
    assert growth < MOST_GROWTH
    assert 20 < np.exp(reference / (SLOTS * (LENGTH - 3))) < 100  # it is prose that it reads

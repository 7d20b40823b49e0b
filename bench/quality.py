"""The quality of each precision: perplexity of every system on the embedded model."""

from __future__ import annotations

import contextlib
import math

from tokenizers import Tokenizer

from bench.checkpoints import ROOT, Checkpoint
from bench.interleave import interleaved
from bench.systems import ENGINES, TRANSFORMERS_GENERATE, Bench

WINDOW = 256


def perplexities(bench: Bench, checkpoint: Checkpoint, text: str) -> list[dict[str, object]]:
    """Return, for each system, its perplexity and what it adds to that of transformers in fp32."""
    tokenizer = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    ids = tokenizer.encode(text).ids
    starts = range(0, len(ids) - WINDOW, WINDOW)
    windows = [ids[at : at + WINDOW] for at in starts][: bench.plan.quality_windows]
    tokens = sum(len(window) - 1 for window in windows)
    bench.say(f"quality: perplexity of {checkpoint.name} on {tokens} tokens")
    with contextlib.ExitStack() as stack:
        drivers = bench.start_all(stack, ENGINES, checkpoint)

        def failed(system: str, error: Exception) -> None:
            bench.say(f"left out: {error}")

        found = interleaved(drivers, 1, lambda driver: driver.perplexity(windows), failed)
    values = {s: math.exp(runs[0]["nll"] / runs[0]["tokens"]) for s, runs in found.items()}
    reference = values.get(TRANSFORMERS_GENERATE)
    return [
        {
            "system": system,
            "model": checkpoint.name,
            "perplexity": value,
            "cost_percent": 100 * (value / reference - 1) if reference else None,
            "tokens": tokens,
        }
        for system, value in values.items()
    ]


def default_text() -> str:
    """Return prose that no model here was trained on."""
    return (ROOT / "bench" / "prose.txt").read_text(encoding="utf-8")

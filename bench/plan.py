"""What to measure, how large and how often: one frozen object for each mode."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

SECTIONS = (
    "decode",
    "http",
    "ttft",
    "goon",
    "churn",
    "batch",
    "prompt",
    "memory",
    "quality",
    "gateway",
    "cold",
    "busy",
)
TABLE_SECTIONS = ("decode", "ttft", "churn", "http", "cold", "busy")


@dataclass(frozen=True)
class Plan:
    """Sizes and repetitions. Streams and prompt lengths are those of the issue's table."""

    rounds: int = 5
    streams: tuple[int, ...] = (1, 8, 32)
    prompt: int = 64
    new_tokens: int = 128
    tutorial_clients: tuple[int, ...] = (1, 32)
    tutorial_tokens: int = 32
    ttft_prompts: tuple[int, ...] = (64, 512)
    ttft_runs: int = 15
    known_tokens: int = 500
    churn_requests: int = 64
    churn_lengths: tuple[int, int] = (16, 128)
    churn_rounds: int = 5
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    prompts: tuple[int, ...] = (16, 64, 128, 256, 512, 960)
    memory_requests: int = 10_000
    memory_lengths: tuple[int, int] = (1, 128)
    memory_tokens: tuple[int, int] = (1, 8)
    quality_windows: int = 40
    gateway_pairs: int = 21
    gateway_tokens: int = 128
    gateway_first_tokens: int = 60
    cold_starts: int = 5
    busy_tokens: int = 64
    busy_rounds: int = 3
    slots: int = 32
    threads: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    quick: bool = False
    keep_archives: bool = False
    is_table: bool = False


QUICK = Plan(
    rounds=2,
    prompt=16,
    new_tokens=24,
    streams=(1, 8, 32),
    tutorial_clients=(1,),
    tutorial_tokens=8,
    ttft_runs=3,
    known_tokens=200,
    churn_requests=40,
    churn_lengths=(8, 24),
    churn_rounds=1,
    batches=(1, 4, 16, 64),
    prompts=(16, 256),
    memory_requests=200,
    quality_windows=4,
    gateway_pairs=3,
    gateway_tokens=64,
    gateway_first_tokens=20,
    quick=True,
)

# What the table of targets needs, in a quarter of an hour.
TABLE = Plan(tutorial_clients=(), ttft_runs=11, churn_rounds=4, cold_starts=3, is_table=True)
QUICK_TABLE = dataclasses.replace(
    QUICK, tutorial_clients=(), cold_starts=1, busy_tokens=16, busy_rounds=1, is_table=True
)

QUICK_SECTIONS = ("decode", "http", "ttft", "goon")

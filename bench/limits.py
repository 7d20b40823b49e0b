"""The limits of this machine: memory bandwidth, int8 and float32 products.

Each figure of the bench is given as a share of the rate that these allow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from archive.native_build import build_libraries
from bench.checkpoints import Checkpoint
from bench.systems import BYTES_PER_WEIGHT
from handler.engine.model import ModelShape
from handler.engine.native.library import NativeStep
from handler.engine.native.weights import pack_model, uniform
from handler.engine.native_model import choose_library

# What decides which kernels run, as /proc/cpuinfo names it (x86, then ARM): clouds call
# processors that differ in these by one name.
INSTRUCTIONS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm", "bf16", "sve"),
)


@dataclass(frozen=True)
class Limits:
    """Best of several tries each; GB/s and billions of operations a second (2 a product)."""

    cpu: str
    instructions: str
    cores: int
    memory_gb: float
    read_gb_s: float
    read_model_gb_s: float
    int8_gops: float
    fp32_gflops: float

    def as_json(self) -> dict[str, object]:
        """All of it, for the results."""
        return asdict(self)

    def tokens_per_second(self, system: str, checkpoint: Checkpoint, streams: int) -> float:
        """Most that decode could give: weights read once a step, or all products, the slower.

        Attention, LayerNorm and sampling are left out, so a share of 1 cannot be reached.
        """
        size = BYTES_PER_WEIGHT[system]
        weights = checkpoint.product_parameters * size
        by_reading = streams * self.read_model_gb_s * 1e9 / weights
        peak = self.fp32_gflops if size >= 4 else self.int8_gops
        by_products = peak * 1e9 / (2 * checkpoint.product_parameters)
        return min(by_reading, by_products)

    def first_token_seconds(
        self, system: str, checkpoint: Checkpoint, streams: int, prompt: int
    ) -> float:
        """Least time to read `streams` prompts: all weights once, or all products, the slower.

        The head counts for the last row of each prompt alone. Attention is left out here too.
        """
        size = BYTES_PER_WEIGHT[system]
        rows = streams * prompt
        blocks = checkpoint.product_parameters - checkpoint.head_parameters
        products = 2 * (rows * blocks + streams * checkpoint.head_parameters)
        peak = self.fp32_gflops if size >= 4 else self.int8_gops
        reading = checkpoint.product_parameters * size / (self.read_model_gb_s * 1e9)
        return max(reading, products / (peak * 1e9))


def measure(threads: int) -> Limits:
    """Measure this machine, in about ten seconds."""
    return Limits(
        cpu=_cpu("model name") or "unknown",
        instructions=_instructions(),
        cores=threads,
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        read_gb_s=_read_rate(threads, 1 << 30, tries=4),
        # The int8 weights of GPT-2 small: some caches hold a good part of them.
        read_model_gb_s=_read_rate(threads, 124 << 20, tries=12),
        int8_gops=max(_product_rate(threads, rows, integers=True) for rows in (64, 256, 1024)),
        fp32_gflops=max(_product_rate(threads, rows, integers=False) for rows in (64, 256, 1024)),
    )


def _best_rate(work: Callable[[], object], amount: float, tries: int) -> float:
    work()
    best = float("inf")
    for _ in range(tries):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return amount / best / 1e9


def _read_rate(threads: int, size: int, tries: int) -> float:
    """Read `size` bytes with all threads: a reduction that needs every one of them."""
    parts = np.array_split(np.ones(size // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        return _best_rate(lambda: list(pool.map(np.bitwise_or.reduce, parts)), size, tries)


def _product_rate(threads: int, rows: int, *, integers: bool) -> float:
    """One product as wide as GPT-2's MLP (768 x 3072), all of a step's work."""
    width, columns = 768, 3072
    shape = ModelShape(layers=0, heads=12, width=width, max_length=rows, vocab_size=columns)
    generator = np.random.default_rng(0)
    weights = {
        "wte.weight": generator.standard_normal((columns, width), np.float32),
        "wpe.weight": generator.standard_normal((rows, width), np.float32),
        "ln_f.weight": np.ones(width, np.float32),
        "ln_f.bias": np.zeros(width, np.float32),
    }
    arrays = dict(pack_model(weights, shape, uniform("int8" if integers else "float32")))
    library = choose_library(build_libraries())
    step = NativeStep(library, arrays, shape, slots=1, max_rows=rows, threads=threads)
    positions = np.zeros((rows, 3), np.int32)
    positions[:, 2] = np.arange(rows)
    wanted, logits = np.arange(rows), np.empty((rows, columns), np.float32)
    operations = 2.0 * rows * width * columns
    repeats = max(1, int(2e9 / operations))

    def work() -> None:
        for _ in range(repeats):
            step.step(positions, wanted, logits)

    return _best_rate(work, operations * repeats, tries=5)


def _instructions() -> str:
    there = (_cpu("flags") or _cpu("Features") or "").split()
    return " ".join(name for name in INSTRUCTIONS if name in there)


def _cpu(field: str) -> str | None:
    """What the first processor in /proc/cpuinfo says of itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None

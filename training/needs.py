"""The resources of a run: memory by a formula, time by timing a step."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import GPT2LMHeadModel

from training.errors import TrainingError
from training.lora import count_trainable
from training.settings import RunSettings
from training.trainer import check_space, next_token_loss, phases_of
from training.windows import BatchPerStep, Tokens

# A weight, its gradient and its two moments in float32.
BYTES_PER_WEIGHT, BYTES_PER_TRAINED = 4, 12
# Two checkpoints with weights and two moments in float32, and what a third takes meanwhile; and
# the result in float16.
DISK_PER_TRAINED, DISK_PER_WEIGHT = 50, 2
# Python, torch and transformers themselves.
BASE_BYTES = 450_000_000
# Values of float32 that the backward pass needs, for each token of a step: in a layer for each
# unit of width, for each head and position; for each logit. Four runs measured were within a fifth.
KEPT_PER_WIDTH, KEPT_PER_SCORE, KEPT_PER_LOGIT = 28, 3, 3


@dataclass(frozen=True)
class Memory:
    """In bytes."""

    needed: int
    free: int

    @property
    def is_enough(self) -> bool:
        """Whether the run will most likely fit."""
        return self.needed <= self.free


def fresh_weights(run: RunSettings) -> int:
    """Weights of a model that is not made yet."""
    of_blocks = run.layers * run.width * (12 * run.width + 13)
    return of_blocks + run.width * (run.vocab_size + run.context + 2)


def trainable(run: RunSettings, parameters: int) -> int:
    """Weights that get gradients."""
    return count_trainable(run.layers, run.width, run.lora_rank) if run.lora_rank else parameters


def disk(run: RunSettings, parameters: int) -> int:
    """Bytes of the checkpoints and of the result."""
    return DISK_PER_TRAINED * trainable(run, parameters) + DISK_PER_WEIGHT * parameters


def check_room(output: Path, run: RunSettings, parameters: int) -> None:
    """See that the disk holds the run and the memory its weights, before they are made.

    Raises:
        TrainingError: one of them does not.
    """
    check_space(output, disk(run, parameters))
    room = memory(run, parameters)
    if BYTES_PER_WEIGHT * parameters > room.free:
        raise TrainingError(
            f"no memory: {parameters:,} weights take {BYTES_PER_WEIGHT * parameters / 1e9:.1f} GB, "
            f"{room.free / 1e9:.1f} GB are free"
        )


def memory(run: RunSettings, parameters: int) -> Memory:
    """What the run needs at its fullest step, and what is free (this process counted as free)."""
    needed = BASE_BYTES + BYTES_PER_WEIGHT * parameters
    needed += BYTES_PER_TRAINED * trainable(run, parameters)
    needed += max(_kept(run, p.rows * p.length, p.length) for p in phases_of(run))
    return Memory(needed, psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def seconds(run: RunSettings, model: GPT2LMHeadModel, stream: Tokens) -> float:
    """How long the steps will take, by trying one of each shape; changes neither model nor seed."""
    phases = phases_of(run)
    batches = BatchPerStep(stream, phases, run.seed)
    total, first = 0.0, 0
    with torch.random.fork_rng():
        _try_out(model, batches[0], run)  # the first of all takes longer
        for phase in phases:
            total += phase.steps * _try_out(model, batches[first], run)
            first += phase.steps
    return total


def _kept(run: RunSettings, tokens: int, length: int) -> int:
    of_layer = KEPT_PER_WIDTH * run.width + KEPT_PER_SCORE * run.heads * length
    return 4 * tokens * (run.layers * of_layer + KEPT_PER_LOGIT * run.vocab_size)


def _try_out(model: GPT2LMHeadModel, batch: dict[str, torch.Tensor], run: RunSettings) -> float:
    device = next(model.parameters()).device.type
    start = time.monotonic()
    model.train()
    with torch.autocast(device, dtype=torch.bfloat16, enabled=run.precision == "bf16"):
        loss = next_token_loss(model, batch["input_ids"], batch["labels"])
    torch.autograd.backward(loss)
    model.zero_grad(set_to_none=True)
    return time.monotonic() - start

"""Cuts a stream of tokens into the batches of a run.

A batch is a function of the step and the seed alone, so that a resumed run sees what an
unbroken one would have seen, whatever happened before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Phase:
    """Steps that share a shape: ``rows`` windows of ``length`` tokens each."""

    steps: int
    rows: int
    length: int


class BatchPerStep(Dataset[dict[str, torch.Tensor]]):
    """Item k is the whole batch of step k: inputs and targets, int64 [rows, length]."""

    def __init__(self, stream: Tokens, phases: tuple[Phase, ...], seed: int) -> None:
        self._stream = stream
        self._phases = phases
        self._seed = seed

    def __len__(self) -> int:
        return sum(phase.steps for phase in self._phases)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        if not 0 <= step < len(self):
            raise IndexError(step)
        number = 0
        while step >= self._phases[number].steps:
            step -= self._phases[number].steps
            number += 1
        phase = self._phases[number]
        first = step * phase.rows
        starts = [self._start(number, phase.length, first + row) for row in range(phase.rows)]
        rows = np.stack([self._stream[s : s + phase.length + 1] for s in starts]).astype(np.int64)
        batch = torch.from_numpy(rows)
        return {"input_ids": batch[:, :-1], "labels": batch[:, 1:]}

    def _start(self, phase: int, length: int, window: int) -> int:
        """Where a window begins: each pass shifts the cuts and shuffles the windows anew."""
        per_pass = (len(self._stream) - 1) // length - 1
        if per_pass < 1:
            return 0
        number, index = divmod(window, per_pass)
        random = np.random.default_rng((self._seed, phase, number))
        shift = int(random.integers(0, length))
        return shift + int(random.permutation(per_pass)[index]) * length


def plan_phases(
    steps: int,
    tokens_per_step: int,
    context: int,
    short_context: int,
    long_share: float,
    earlier: Sequence[tuple[int, int]] = (),
) -> tuple[Phase, ...]:
    """Short windows first (faster), the last ``long_share`` of the steps at full context.

    ``earlier`` holds (until step, tokens a step) for stretches of short windows before that.
    """
    phases = []
    done = 0
    for until, tokens in earlier:
        phases.append(Phase(until - done, max(1, tokens // short_context), short_context))
        done = until
    long_steps = steps - done
    if short_context < context:
        long_steps = min(long_steps, max(1, round(steps * long_share)))
    phases += [
        Phase(steps - done - long_steps, max(1, tokens_per_step // short_context), short_context),
        Phase(long_steps, max(1, tokens_per_step // context), context),
    ]
    return tuple(phase for phase in phases if phase.steps > 0)


def tokens_at(phases: tuple[Phase, ...], step: int) -> int:
    """Tokens seen after ``step`` steps."""
    tokens = 0
    for phase in phases:
        steps = min(step, phase.steps)
        tokens += steps * phase.rows * phase.length
        step -= steps
    return tokens

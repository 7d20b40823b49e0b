"""Progress of a run: one line with the remaining time, and a sample now and then."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast, TrainerCallback

from training.samples import Sampling, continue_text

SAMPLE_TOKENS = 60


class Progress(TrainerCallback):  # type: ignore[misc]
    """Prints step, loss, speed and time left, at most every few seconds."""

    def __init__(self, tokens_at: Callable[[int], int], seconds: float) -> None:
        self._tokens_at = tokens_at
        self._seconds = seconds
        self._loss = float("nan")
        self._start_step = 0
        self._start = self._reported = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remember where this process began."""
        self._start_step = state.global_step
        self._start = self._reported = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Remember the last loss; report the held-out one at once."""
        self._loss = logs.get("loss", self._loss)
        if "eval_loss" in logs:
            say(f"  held-out loss {logs['eval_loss']:.4f} at step {state.global_step:,}")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One line, if the last is long enough ago."""
        now = time.monotonic()
        done = state.global_step - self._start_step
        if now - self._reported < self._seconds and state.global_step < state.max_steps:
            return
        self._reported = now
        spent = now - self._start
        tokens = self._tokens_at(state.global_step)
        speed = (tokens - self._tokens_at(self._start_step)) / spent
        left = (self._tokens_at(state.max_steps) - tokens) / speed
        loss = "" if math.isnan(self._loss) else f"loss {self._loss:.3f}  "
        say(
            f"step {state.global_step:,}/{state.max_steps:,}  {loss}"
            f"{speed:,.0f} tokens/s  {done and duration(left)} left"
        )


class SampleOnTheWay(TrainerCallback):  # type: ignore[misc]
    """After each evaluation, a short text from the same prompt and seed: progress to read."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, prompt: str, file: Path, seed: int
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._file = file
        self._seed = seed

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Print it and keep it."""
        text = continue_text(
            model, self._tokenizer, self._prompt, Sampling(), SAMPLE_TOKENS, self._seed
        )
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"step {state.global_step}: {self._prompt}{text}\n\n")
        say("  " + " ".join(f"{self._prompt}{text}".replace("\n\n", " / ").split()))


def duration(seconds: float) -> str:
    """For people: ``1 h 05 min``, ``3 min 20 s``, ``12 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def say(line: str) -> None:
    """A line to the person who waits."""
    print(line, file=sys.stderr, flush=True)

"""Early stopping: trains a short text until the held-out loss goes up again.

What is known is in the log of the run alone, which a checkpoint holds: a resumed run decides as
an unbroken one does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from training.progress import say

# Looks at the held-out loss that may go by without a new best one.
PATIENCE = 3
BEST_FILE = "best.safetensors"

Log = Sequence[dict[str, Any]]


def best_step(log: Log) -> int:
    """The step with the least held-out loss so far, the first of equals; 0 before any look."""
    looks = _looks(log)
    return min(looks, key=lambda look: (look[1], look[0]))[0] if looks else 0


def is_over(log: Log) -> bool:
    """Whether the held-out loss has not become better for some looks."""
    best = best_step(log)
    return sum(step > best for step, _ in _looks(log)) >= PATIENCE


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """Keeps the weights of the least held-out loss, and ends the run when that is past."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / BEST_FILE

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        """Keep the weights if they are the best; end if the best are some looks ago."""
        if best_step(state.log_history) == state.global_step:
            partial = self._file.with_suffix(".part")
            save_file({n: p.detach() for n, p in _trained(model).items()}, partial)
            partial.replace(self._file)
        elif is_over(state.log_history) and not control.should_training_stop:
            lowest = best_step(state.log_history)
            say(f"  the held-out loss was lowest at step {lowest:,}: stopping")
            control.should_training_stop = control.should_save = True
        return control


def take_best(model: torch.nn.Module, directory: Path) -> None:
    """Put the kept weights into the model."""
    kept = load_file(directory / BEST_FILE)
    with torch.no_grad():
        for name, parameter in _trained(model).items():
            parameter.copy_(kept[name])


def _looks(log: Log) -> list[tuple[int, float]]:
    return [
        (int(entry["step"]), float(entry["eval_loss"])) for entry in log if "eval_loss" in entry
    ]


def _trained(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}

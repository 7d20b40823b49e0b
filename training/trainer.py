"""transformers.Trainer, and how these runs differ: batches by step, one loss, two optimizers."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainingArguments,
)

from training.errors import TrainingError
from training.optimizer import MuonWithAdamW
from training.settings import Reporting, RunSettings
from training.windows import BatchPerStep, Phase, Tokens, plan_phases

FINAL_LEARNING_RATE = 0.02


class GPT2Trainer(Trainer):  # type: ignore[misc]
    """Trains on next-token loss in the run's precision; evaluates with the given function."""

    optimizer: Optimizer | None
    lr_scheduler: LambdaLR | None
    control: TrainerControl

    def __init__(
        self,
        model: GPT2LMHeadModel,
        run: RunSettings,
        reporting: Reporting,
        stream: Tokens,
        held_out_loss: Callable[[GPT2LMHeadModel], float],
        callbacks: list[TrainerCallback],
    ) -> None:
        self._run = run
        self._held_out_loss = held_out_loss
        super().__init__(
            model=model,
            args=_arguments(run, reporting),
            train_dataset=BatchPerStep(stream, phases_of(run), run.seed),
            eval_dataset=[],
            data_collator=lambda batches: batches[0],
            callbacks=callbacks,
        )
        self.model_accepts_loss_kwargs = False
        # Each shape has kernels of its own: which of two came first must not change a resumed run.
        self._loss = (
            torch.compile(next_token_loss, dynamic=False) if run.compiled else next_token_loss
        )

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
        """Mean nats per token; ``labels`` are the inputs moved by one."""
        device = inputs["input_ids"].device.type
        bf16 = self._run.precision == "bf16"
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            return self._loss(model, inputs["input_ids"], inputs["labels"])

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss on a part of the held-out text; leaves the random state as it was."""
        metrics = {"eval_loss": self._held_out_loss(self.model)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def create_optimizer(self, model: Any = None) -> Optimizer:
        """The run's optimizer over all parameters."""
        run = self._run
        if self.optimizer is None and run.optimizer == "muon":
            self.optimizer = MuonWithAdamW(
                self.model, run.muon_learning_rate, run.learning_rate, run.weight_decay
            )
        elif self.optimizer is None:
            self.optimizer = AdamW(
                decay_groups(self.model, run.weight_decay), lr=run.learning_rate, betas=(0.9, 0.95)
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """Linear warm-up, then a cosine down to 2 % of the peak at the last step."""
        if self.lr_scheduler is None:
            run = self._run
            self.lr_scheduler = LambdaLR(
                optimizer or self.create_optimizer(),
                lambda step: learning_rate_factor(step, run.warmup_steps, run.steps),
            )
        return self.lr_scheduler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Weights and two moments in float32, and some air: full disks leave broken files.
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        needed = 16 * trained + 1_000_000
        check_space(Path(self.args.output_dir), needed)
        super()._save_checkpoint(model, trial)


def next_token_loss(model: Any, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean nats per token."""
    logits = model(input_ids=ids, use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def phases_of(run: RunSettings) -> tuple[Phase, ...]:
    """The shapes of the run's batches."""
    return plan_phases(
        run.steps,
        run.tokens_per_step,
        run.context,
        run.short_context,
        run.long_share,
        run.earlier,
    )


def learning_rate_factor(step: int, warmup: int, steps: int) -> float:
    """Share of the peak learning rate at ``step``."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine


def decay_groups(model: GPT2LMHeadModel, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, gains and biases do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def check_space(directory: Path, needed: int) -> None:
    """Raise TrainingError unless ``needed`` bytes are free where ``directory`` is or will be."""
    existing = next(p for p in (directory, *directory.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise TrainingError(
            f"no space: {needed / 1e6:,.0f} MB are needed in {directory}, "
            f"{free / 1e6:,.0f} MB are free"
        )


def last_whole_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint that was written to its end; a kill may leave a torn one."""
    found = []
    for checkpoint in directory.glob("checkpoint-*"):
        try:
            state = json.loads((checkpoint / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        found.append((int(state["global_step"]), checkpoint))
    return max(found)[1] if found else None


def log_of(checkpoint: Path) -> list[dict[str, Any]]:
    """What the run had logged until then."""
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return list(state["log_history"])


def _arguments(run: RunSettings, reporting: Reporting) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(reporting.checkpoints),
        max_steps=run.steps,
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        max_grad_norm=1.0,
        seed=run.seed,
        logging_steps=max(1, min(10, run.steps // 50)),
        save_strategy="steps",
        save_steps=reporting.save_every,
        save_total_limit=reporting.kept_checkpoints,
        eval_strategy="steps",
        eval_steps=run.stop_check_every or reporting.evaluate_every,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )

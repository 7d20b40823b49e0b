"""All settings of a training run, resolved once from the command line."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunSettings:
    """What decides the weights of a run; written to ``run.json``, compared on resuming."""

    text_digest: str
    base: str | None
    layers: int
    width: int
    heads: int
    vocab_size: int
    context: int
    short_context: int
    long_share: float
    dropout: float
    optimizer: str
    learning_rate: float
    muon_learning_rate: float
    weight_decay: float
    warmup_steps: int
    steps: int
    tokens_per_step: int
    seed: int
    precision: str
    compiled: bool
    # (until step, tokens a step) for each stretch before tokens_per_step was changed under way.
    earlier: tuple[tuple[int, int], ...] = ()
    # The held-out loss is looked at so often, and ends the run; 0: the run has a length of its own.
    stop_check_every: int = 0
    # Rank of the matrices that are trained instead of the weights; 0: the weights themselves.
    lora_rank: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Reporting:
    """What a run reports on its way and what it keeps; changes no weight."""

    output: Path
    save_every: int
    evaluate_every: int
    progress_seconds: float = 10.0
    kept_checkpoints: int = 2

    @property
    def checkpoints(self) -> Path:
        """Where a stopped run goes on from."""
        return self.output / "checkpoints"

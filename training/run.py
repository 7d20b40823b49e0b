"""One training run from text to checkpoint directory, resumable at every checkpoint."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, PrinterCallback

from training.corpus import Corpus
from training.early_stop import KeepBest, best_step, is_over, take_best
from training.errors import TrainingError
from training.evaluate import score
from training.muon import multiplies_bf16
from training.ownership import RUN_FILE
from training.progress import Progress, SampleOnTheWay, say
from training.settings import Reporting, RunSettings
from training.trainer import GPT2Trainer, last_whole_checkpoint, log_of, phases_of
from training.vocabulary import encode_chunks
from training.windows import Tokens, tokens_at

HELD_OUT_SAMPLE_TOKENS = 40_000
CHECKPOINTS = "checkpoints"
NAMES = {"text_digest": "text"}  # of settings, where a person would call them otherwise
# What may be changed under way.
CHANGEABLE = ("steps", "warmup_steps", "tokens_per_step", "earlier", "stop_check_every")
_DEFAULTS = {field.name: field.default for field in fields(RunSettings)}


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its log, steps trained, and the step whose weights were taken."""

    log: list[dict[str, Any]]
    steps: int
    best: int


def train(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    stream: Tokens,
    run: RunSettings,
    reporting: Reporting,
) -> Outcome:
    """Train ``model`` in place, from its last checkpoint if there is one."""
    start = int(model.config.bos_token_id)
    held_out = np.concatenate(encode_chunks(tokenizer, corpus.held_out, start))
    sample = [held_out[:HELD_OUT_SAMPLE_TOKENS]]

    def held_out_loss(trained: GPT2LMHeadModel) -> float:
        result = score(trained, sample, 1, run.context)
        return result.nats / result.tokens

    phases = phases_of(run)
    prompt = " ".join(corpus.held_out[0].split()[:6])
    trainer = GPT2Trainer(
        model,
        run,
        reporting,
        stream,
        held_out_loss,
        callbacks=[
            Progress(lambda step: tokens_at(phases, step), reporting.progress_seconds),
            SampleOnTheWay(tokenizer, prompt, reporting.output / "samples.txt", run.seed),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    if run.stop_check_every:
        trainer.add_callback(KeepBest(reporting.output))
    checkpoint = last_whole_checkpoint(reporting.checkpoints)
    log = log_of(checkpoint) if checkpoint else []
    steps = steps_done(reporting.output)
    if checkpoint is not None:
        say(f"resuming at step {steps:,} of {run.steps:,}")
    if not (run.stop_check_every and is_over(log)):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        log, steps = list(trainer.state.log_history), trainer.state.global_step
    if not run.stop_check_every:
        return Outcome(log, steps, steps)
    take_best(model, reporting.output)
    return Outcome(log, steps, best_step(log))


def check_same_run(run: RunSettings, output: Path) -> tuple[RunSettings, list[str]]:
    """Write ``run.json``, or compare with the one that is there; report what changed.

    Only the length of a run and the tokens of a step may be changed under way. The schedule bends
    to its new end; the run that is returned knows the stretches with other steps.

    Raises:
        TrainingError: the directory belongs to a run with other settings.
    """
    record = output / RUN_FILE
    settings = run.as_dict()
    changes: list[str] = []
    if record.is_file():
        before = json.loads(record.read_text())
        changes = before.pop("changes", [])
        # A run that was begun before a setting was invented went as its default says.
        changed = [key for key in settings if settings[key] != before.get(key, _DEFAULTS.get(key))]
        other = [key for key in changed if key not in CHANGEABLE]
        if other:
            raise TrainingError(
                f"{output} holds a run with another {NAMES.get(other[0], other[0])} "
                f"({before.get(other[0])}, now {settings[other[0]]}); use the same settings to "
                "resume it, or another --output"
            )
        done = steps_done(output)
        if run.steps < done:
            raise TrainingError(f"{output} is at step {done:,} already, beyond {run.steps:,}")
        if run.steps != before["steps"]:
            changes = [*changes, f"planned for {before['steps']:,} steps until step {done:,}"]
        earlier = [(int(until), int(tokens)) for until, tokens in before.get("earlier", ())]
        if run.tokens_per_step != before["tokens_per_step"]:
            earlier.append((done, int(before["tokens_per_step"])))
            changes = [*changes, f"{earlier[-1][1]:,} tokens a step until step {done:,}"]
        run = replace(run, earlier=tuple(earlier))
        settings = run.as_dict()
    output.mkdir(parents=True, exist_ok=True)
    write_whole(record, json.dumps(settings | {"changes": changes}, indent=1) + "\n")
    return run, changes


def keep_what_was_automatic(run: RunSettings, output: Path, names: Iterable[str]) -> RunSettings:
    """Take over settings of a run begun earlier that depend on its length or on the machine."""
    record = output / RUN_FILE
    if not record.is_file():
        return run
    before = json.loads(record.read_text())
    return replace(run, **{name: before[name] for name in names if name in before})


def write_whole(file: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all, whenever the process is killed."""
    partial = file.with_name(file.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def steps_done(output: Path) -> int:
    """Steps of the last whole checkpoint."""
    checkpoint = last_whole_checkpoint(output / CHECKPOINTS)
    return int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0


def auto_precision() -> str:
    """bf16 where the hardware multiplies it fast, else fp32."""
    return "bf16" if multiplies_bf16() else "fp32"


def auto_compile(steps: int) -> bool:
    """Compiling takes a minute and needs a C++ compiler; it pays off in a long run."""
    return steps >= 300 and shutil.which("g++") is not None

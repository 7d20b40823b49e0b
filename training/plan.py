"""From options, text and base model to the settings of one run."""

import argparse
import math

from transformers import GPT2Config

from training.corpus import Corpus
from training.errors import TrainingError
from training.run import auto_compile, auto_precision
from training.settings import RunSettings

HEAD_WIDTH = 64
LONG_SHARE = 0.25
MIN_STEPS_PER_PASS = 25
MIN_STEPS = 200
TOKENS_PER_STEP, TOKENS_PER_STEP_OF_FINE_TUNING = 8192, 2048
PASSES, PASSES_OF_FINE_TUNING = 4, 3
CONTEXT = 512
# A window that sees less says nothing of a text.
MIN_CONTEXT = 16
LOOKS = 10  # at the held-out loss in a run
# Rank-r matrices start at nothing and take larger steps than weights that know much already.
LORA_RATE = 10


def plan(
    options: argparse.Namespace,
    corpus: Corpus,
    base: GPT2Config | None,
    vocab_size: int,
    stream_tokens: int,
) -> RunSettings:
    """Resolve every default; ``stream_tokens`` is the length of the training text in tokens."""
    context = _context(options, base, stream_tokens)
    tokens_per_step = options.tokens_per_step or _tokens_per_step(base, context, stream_tokens)
    steps = options.steps or _steps(options, base, stream_tokens / tokens_per_step)
    optimizer = options.optimizer or ("muon" if base is None else "adamw")
    _check_lora(options, optimizer)
    # A long run learns most at short windows, which are faster; fine-tuning is short anyway.
    grows = (
        optimizer == "muon" and context >= 256 and (options.steps or not _is_short(stream_tokens))
    )
    short = context // 2 if grows else context
    # Where windows grow under way, the held-out loss falls at the very end.
    chosen_here = not options.steps and not options.passes and short == context
    look_every = options.evaluate_every or max(1, steps // LOOKS)
    return RunSettings(
        text_digest=corpus.digest,
        base=options.base,
        layers=base.n_layer if base else options.layers,
        width=base.n_embd if base else options.width,
        heads=base.n_head if base else heads(options),
        vocab_size=vocab_size,
        context=context,
        short_context=short,
        long_share=LONG_SHARE,
        dropout=_dropout(options, base),
        optimizer=optimizer,
        learning_rate=options.learning_rate or _learning_rate(options, base, optimizer),
        muon_learning_rate=options.muon_learning_rate,
        weight_decay=_weight_decay(options, base),
        warmup_steps=max(1, min(50, steps // 10)),
        steps=steps,
        tokens_per_step=tokens_per_step,
        seed=options.seed,
        precision=auto_precision() if options.precision == "auto" else options.precision,
        compiled=auto_compile(steps) if options.compile == "auto" else options.compile == "yes",
        stop_check_every=look_every if chosen_here else 0,
        lora_rank=options.lora or 0,
    )


def _check_lora(options: argparse.Namespace, optimizer: str) -> None:
    if options.lora and options.base is None:
        raise TrainingError("--lora trains beside a model that exists; name one with --from")
    if options.lora and optimizer != "adamw":
        raise TrainingError("--lora goes with --optimizer adamw")


def heads(options: argparse.Namespace) -> int:
    """Attention heads of a new model.

    Raises:
        TrainingError: they do not share the width evenly.
    """
    count = options.heads or max(1, options.width // HEAD_WIDTH)
    if options.width % count:
        raise TrainingError(f"--width {options.width} cannot be shared among {count} --heads")
    return int(count)


def _context(options: argparse.Namespace, base: GPT2Config | None, stream_tokens: int) -> int:
    wanted = int(options.context or CONTEXT)
    if base is not None and options.context and wanted > base.n_positions:
        raise TrainingError(
            f"--context {wanted} is more than the {base.n_positions} that {options.base} can see"
        )
    if base is not None:
        wanted = min(wanted, base.n_positions)
    while not options.context and wanted > MIN_CONTEXT and stream_tokens <= 2 * wanted:
        wanted //= 2
    if stream_tokens <= 2 * wanted:
        raise TrainingError(
            f"too little text: {stream_tokens:,} tokens for windows of {wanted} (--context); "
            f"more than {2 * wanted:,} are needed"
        )
    return wanted


def _tokens_per_step(base: GPT2Config | None, context: int, stream_tokens: int) -> int:
    full = TOKENS_PER_STEP_OF_FINE_TUNING if base else TOKENS_PER_STEP
    if base is None and not _is_short(stream_tokens):
        return full
    # A small text still gets enough steps to be learnt.
    rows = min(full // context, stream_tokens // (context * MIN_STEPS_PER_PASS))
    return max(1, rows) * context


def _is_short(stream_tokens: int) -> bool:
    return stream_tokens < MIN_STEPS_PER_PASS * TOKENS_PER_STEP


def _dropout(options: argparse.Namespace, base: GPT2Config | None) -> float:
    if options.dropout is not None:
        return float(options.dropout)
    return float(base.resid_pdrop) if base else 0.0


def _steps(options: argparse.Namespace, base: GPT2Config | None, per_pass: float) -> int:
    if options.passes:
        return math.ceil(float(options.passes) * per_pass)
    return max(MIN_STEPS, math.ceil((PASSES_OF_FINE_TUNING if base else PASSES) * per_pass))


def _learning_rate(options: argparse.Namespace, base: GPT2Config | None, optimizer: str) -> float:
    if base is not None:
        # What suits GPT-2's own 768, more for narrower models, less for wider ones.
        rate = 2e-4 * (LORA_RATE if options.lora else 1) * 768 / base.n_embd
        return float(f"{rate:.2g}")
    return 8e-3 if optimizer == "muon" else 2e-3


def _weight_decay(options: argparse.Namespace, base: GPT2Config | None) -> float:
    if options.weight_decay is not None:
        return float(options.weight_decay)
    return 0.1 if base is None else 0.01

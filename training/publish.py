"""Turns a trained model into a checkpoint directory: weights, tokenizer, figures, samples, card."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from training.card import CURVE_FILE, Card, Sample, render
from training.corpus import Corpus
from training.figures import Figure, measure_checkpoint, references
from training.model import load_model
from training.progress import say
from training.samples import Sampling, continue_text
from training.settings import RunSettings
from training.sweep import sweep

SAMPLE_TOKENS = 120
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Publication:
    """What the card says beyond what the run knows, and how much is measured."""

    name: str
    license: str | None
    about: str | None
    prompts: tuple[str, ...]
    with_references: bool
    with_sweep: bool
    samples: int
    changes: tuple[str, ...]


def save_weights(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, directory: Path
) -> None:
    """config.json, float16 model.safetensors, tokenizer."""
    half = GPT2LMHeadModel(model.config)
    half.load_state_dict(model.state_dict())
    half.config.use_cache = True  # training turns it off; whoever generates wants it
    half.to(torch.float16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    _write_for_all_versions(directory / "tokenizer_config.json")


def publish(
    directory: Path,
    before: Figure,
    corpus: Corpus,
    sources: Path,
    run: RunSettings,
    tokens: tuple[int, int],
    tokenizer: PreTrainedTokenizerFast,
    publication: Publication,
) -> list[Figure]:
    """Measure what lies in ``directory`` and write generation_config, examples and card there.

    ``tokens`` are those seen in training and those of the training text.
    """
    say("measuring on the held-out text")
    figures = [measure_checkpoint(str(directory), corpus, "**this model**"), before]
    if publication.with_references:
        figures += references(corpus, say)
    model = load_model(str(directory))
    found = sweep(model, tokenizer, corpus, run.seed, say=say) if publication.with_sweep else None
    sampling = found.best if found else Sampling()
    sampling.generation_config(int(model.config.eos_token_id)).save_pretrained(directory)
    prompts = publication.prompts or openings(corpus)
    _write_json(directory / "examples.json", list(prompts))
    say("writing samples")
    samples = write_samples(model, tokenizer, prompts, sampling, publication.samples)
    card = Card(
        name=publication.name,
        license=publication.license,
        about=publication.about,
        run=run,
        changes=publication.changes,
        parameters=model.num_parameters(),
        size_bytes=(directory / WEIGHTS_FILE).stat().st_size,
        has_curve=curve_file(directory).is_file(),
        tokens_seen=tokens[0],
        tokens_of_text=tokens[1],
        corpus=corpus,
        sources=sources,
        figures=figures,
        sampling=sampling,
        sweep=found,
        samples=samples,
    )
    (directory / "README.md").write_text(render(card), encoding="utf-8")
    return figures


def write_samples(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    sampling: Sampling,
    count: int,
) -> list[Sample]:
    """The card's samples: seeds from 0 on, prompts in turn."""
    samples = []
    for seed in range(count):
        prompt = prompts[seed % len(prompts)]
        text = continue_text(model, tokenizer, prompt, sampling, SAMPLE_TOKENS, seed)
        samples.append(Sample(seed, prompt, text))
    return samples


def openings(corpus: Corpus, count: int = 6, words: int = 6) -> tuple[str, ...]:
    """First words of chunks, held-out ones first, as prompts that fit the text."""
    found = (" ".join(chunk.split()[:words]) for chunk in (*corpus.held_out, *corpus.train))
    return tuple(dict.fromkeys(found))[:count]


def curve_file(directory: Path) -> Path:
    """Where the loss curve lies."""
    return directory / CURVE_FILE


def _write_for_all_versions(file: Path) -> None:
    """Name the tokenizer's class as every transformers knows it; drop how it was loaded here."""
    config = json.loads(file.read_text(encoding="utf-8"))
    for passing in ("backend", "is_local", "local_files_only"):
        config.pop(passing, None)
    if config.get("tokenizer_class") == "TokenizersBackend":  # transformers 5 alone
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    _write_json(file, config)


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

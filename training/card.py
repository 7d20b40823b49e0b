"""The model card (README.md) of a checkpoint: what it is, how good, how it writes, its limits."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.corpus import Corpus
from training.figures import Figure, table
from training.samples import Sampling
from training.settings import RunSettings
from training.sweep import Sweep

CURVE_FILE = "loss.png"


@dataclass(frozen=True)
class Sample:
    """One text of the card."""

    seed: int
    prompt: str
    text: str


@dataclass(frozen=True)
class Card:
    """All that a model card says."""

    name: str
    license: str | None
    about: str | None
    run: RunSettings
    changes: tuple[str, ...]
    parameters: int
    size_bytes: int
    has_curve: bool
    tokens_seen: int
    tokens_of_text: int
    corpus: Corpus
    sources: Path
    figures: list[Figure]
    sampling: Sampling
    sweep: Sweep | None
    samples: list[Sample]


def render(card: Card) -> str:
    """The whole card in Markdown with the hub's front matter."""
    sections = [
        _front_matter(card),
        f"# {card.name}\n\n{card.about or _what_it_is(card)}",
        _made(card),
        _quality(card),
        _sampling(card),
        _samples(card),
        _data(card),
        _limits(card),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(card: Card) -> str:
    fields = ["library_name: transformers", "pipeline_tag: text-generation", "tags: [gpt2]"]
    if card.license:
        fields.insert(0, f"license: {card.license}")
    if card.run.base:
        fields.append(f"base_model: {card.run.base}")
    return "\n".join(["---", *fields, "---"])


def _what_it_is(card: Card) -> str:
    if card.run.base:
        return f"`{card.run.base}`, fine-tuned on a text of its owner's choice."
    return "A GPT-2 trained from scratch on one collection of documents."


def _made(card: Card) -> str:
    run = card.run
    rows: list[tuple[str, Any]] = [
        (
            "architecture",
            f"GPT-2 (`GPT2LMHeadModel`), {run.layers} layers x {run.width}, {run.heads} heads, "
            f"{card.parameters / 1e6:.2f} million parameters",
        ),
        ("weights", f"float16 safetensors, {card.size_bytes / 1e6:.1f} MB"),
        ("vocabulary", f"byte-level BPE of {run.vocab_size:,} tokens"),
        ("start", run.base or "from scratch"),
        (
            "training",
            f"{run.steps:,} steps, {card.tokens_seen / 1e6:.2f} million tokens "
            f"({card.tokens_seen / card.tokens_of_text:.1f} passes over the text), "
            + "; ".join([f"seed {run.seed}", run.precision, *card.changes]),
        ),
        ("optimizer", _optimizer(run)),
        ("windows", _windows(run)),
    ]
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    curve = f"\n\n![loss curve]({CURVE_FILE})" if card.has_curve else ""
    return f"## How it was made\n\n| | |\n|---|---|\n{lines}{curve}"


def _optimizer(run: RunSettings) -> str:
    schedule = f"warm-up of {run.warmup_steps} steps, then a cosine to 2 %"
    if run.optimizer == "muon":
        return (
            f"Muon ({run.muon_learning_rate:g}, weight decay {run.weight_decay:g}) for the "
            f"matrices of the blocks, AdamW ({run.learning_rate:g}) for the rest; {schedule}"
        )
    return f"AdamW ({run.learning_rate:g}, weight decay {run.weight_decay:g}); {schedule}"


def _windows(run: RunSettings) -> str:
    if run.short_context >= run.context:
        return f"{run.context} tokens, about {run.tokens_per_step:,} tokens a step"
    return (
        f"{run.short_context} tokens, the last {run.long_share:.0%} of the steps {run.context}; "
        f"{run.tokens_per_step:,} tokens a step"
    )


def _quality(card: Card) -> str:
    corpus = card.corpus
    return (
        "## How good\n\n"
        f"The text was cut into chunks of at most about {corpus.chunk_characters:,} characters, "
        f"and one of {corpus.held_out_every} was held out ({corpus.held_out_characters:,} "
        f"characters; {corpus.train_characters:,} to learn from). Windows do not overlap, so a "
        "token has half a window before it on average. Fewer bits are better.\n\n"
        f"{table(card.figures)}\n\n"
        "The same again: `./scripts/train_model --evaluate DIR --text TEXT`"
    )


def _sampling(card: Card) -> str:
    chosen = card.sampling
    text = (
        "## Sampling defaults\n\n"
        f"temperature {chosen.temperature:g}, top_p {chosen.top_p:g}, "
        f"repetition_penalty {chosen.repetition_penalty:g} (in `generation_config.json`)."
    )
    if card.sweep is None:
        return text
    lines = [
        f"{text} Chosen by comparing continuations of held-out chunks with the chunks themselves: "
        "share of distinct 4-grams of tokens, of paragraphs that close their quotes, and of word "
        "trigrams known from the training text. Of the settings that vary as much and close "
        "their quotes as often as the text does, the one with the most known trigrams; best first.",
        "",
        "| temperature | top_p | repetition_penalty | 4-grams | quotes | trigrams | keeps up |",
        "|---|---|---|---|---|---|---|",
    ]
    for sampling, look in card.sweep.candidates:
        lines.append(
            f"| {sampling.temperature:g} | {sampling.top_p:g} | {sampling.repetition_penalty:g} "
            f"| {look.distinct_4grams:.3f} | {look.closed_quotes:.3f} | {look.known_trigrams:.3f} "
            f"| {'yes' if look.keeps_up_with(card.sweep.text) else 'no'} |"
        )
    text_look = card.sweep.text
    lines.append(
        f"| the text itself | | | {text_look.distinct_4grams:.3f} "
        f"| {text_look.closed_quotes:.3f} | {text_look.known_trigrams:.3f} | |"
    )
    return "\n".join(lines)


def _samples(card: Card) -> str:
    lines = [
        "## Samples",
        "",
        "With the defaults above, in seed order, not picked; prompts in bold.",
    ]
    for sample in card.samples:
        quoted = f"**{sample.prompt.strip()}**{sample.text.rstrip()}"
        body = "\n".join(f"> {line}" if line else ">" for line in quoted.split("\n"))
        lines += ["", f"Seed {sample.seed}:", "", body]
    return "\n".join(lines)


def _data(card: Card) -> str:
    lines = ["## Data", ""]
    books = _books(card)
    if books:
        return "\n".join([*lines, *books])
    names = list(card.corpus.files)
    shown = names[:100]
    lines += [f"- {name}" for name in shown]
    if len(names) > len(shown):
        lines.append(f"- and {len(names) - len(shown)} more")
    return "\n".join(lines)


def _books(card: Card) -> list[str]:
    """Authors and titles, if a table beside the text says them (columns file, author, title)."""
    if not card.sources.is_file():
        return []
    with card.sources.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        f"- {row['author']}: {row['title']}"
        for row in rows
        if row.get("file") in card.corpus.files and row.get("author") and row.get("title")
    ]


def _limits(card: Card) -> str:
    run = card.run
    knows = (
        f"It has the manner of its text, and beneath it what `{run.base}` had read, with that "
        "model's limits and views"
        if run.base
        else "It knows the manner of its text and little else: no facts to rely on, no languages "
        "beyond those of the text, and its views. A sentence mostly holds together, a long story "
        "does not"
    )
    return (
        f"## Limits\n\n{knows}. It follows no instructions, says what is not so, and can repeat "
        f"passages of its text word for word. It sees at most {run.context} tokens at a time in "
        "training."
    )

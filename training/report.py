"""The report before a run: the text, how it will be read, and what the run needs."""

from collections import Counter
from collections.abc import Iterator

from training.needs import disk, memory, seconds, trainable
from training.prepare import Prepared, start_token
from training.progress import duration
from training.trainer import phases_of
from training.vocabulary import encode_chunks
from training.windows import tokens_at

# Held out: below this, what is measured on it is mostly chance.
FEW_HELD_OUT_CHARACTERS = 5_000
# To learn a language from; a model that knows one can be fine-tuned on far less.
FEW_CHARACTERS_FROM_SCRATCH = 200_000
SHOWN_CHARACTERS = 40
_SLOW_TO_COUNT = 200_000  # documents


def report(prepared: Prepared) -> Iterator[str]:
    """Line by line, the slow ones last."""
    documents, corpus, run = prepared.documents, prepared.corpus, prepared.run
    characters, files = documents.characters, len(documents.files)
    yield (
        f"text      {_count(files, 'file')}, {_count(len(documents.documents), 'document')}, "
        f"{characters:,} characters, {len(prepared.stream):,} tokens to learn from"
    )
    yield (
        f"held out  {corpus.held_out_characters:,} characters to measure on: one of "
        f"{corpus.held_out_every} chunks of at most about {corpus.chunk_characters:,}"
    )
    yield from _about_documents(prepared)
    seen = tokens_at(phases_of(run), run.steps)
    end = ", or until the held-out loss goes up" if run.stop_check_every else ""
    yield (
        f"training  {_count(run.steps, 'step')} of {run.tokens_per_step:,} tokens, "
        f"{seen / len(prepared.stream):.1f} passes over the text{end}"
    )
    parameters = prepared.model.num_parameters()
    trained = trainable(run, parameters)
    part = f", {trained / 1e6:.2f} million of LoRA are trained" if run.lora_rank else ""
    size = f"{parameters / 1e6:.2f} million parameters"
    yield f"model     {size}{part}; windows of {run.context} tokens"
    need = memory(run, parameters)
    yield f"memory    about {_size(need.needed)}; {_size(need.free)} are free"
    yield f"disk      about {_size(disk(run, parameters))} while it trains"
    yield from _warnings(prepared, need.is_enough)
    if need.is_enough:
        spent = seconds(run, prepared.model, prepared.stream)
        compiled = " (less, compiled)" if run.compiled else ""
        yield f"time      about {duration(spent)} for the steps on this machine{compiled}"


def _about_documents(prepared: Prepared) -> Iterator[str]:
    documents, context = prepared.documents.documents, prepared.run.context
    counts = Counter(d.text for d in documents)
    repeated = len(documents) - len(counts)
    if repeated:
        [(most, times)] = counts.most_common(1)
        shown = most if len(most) <= SHOWN_CHARACTERS else f"{most[:SHOWN_CHARACTERS]}..."
        yield (
            f"repeated  {_count(repeated, 'document')} of {len(documents):,} occurred before; "
            f"{shown!r} is there {times:,} times"
        )
    start = start_token(prepared.model.config)
    unknown = prepared.tokenizer.unk_token_id
    if unknown is not None and unknown != start:
        count = int((prepared.stream == unknown).sum())
        if count:
            yield f"warning: {count:,} tokens are unknown to the tokenizer and learnt as one"
    if len(documents) > 1:
        # A token has at least one character, so short texts need no tokenizer.
        long = [d.text for d in documents if len(d.text) >= context]
        lengths = map(len, encode_chunks(prepared.tokenizer, long[:_SLOW_TO_COUNT], start))
        longer = sum(length > context for length in lengths)
        if longer:
            yield (
                f"long      {_count(longer, 'document')} longer than a window of {context} tokens: "
                "read in parts, since windows are cut anywhere"
            )


def _warnings(prepared: Prepared, fits: bool) -> Iterator[str]:
    corpus, run = prepared.corpus, prepared.run
    if corpus.held_out_characters < FEW_HELD_OUT_CHARACTERS:
        yield (
            f"warning: {corpus.held_out_characters:,} held-out characters are few: the figures "
            "measured on them mean little"
        )
    if run.base is None and prepared.documents.characters < FEW_CHARACTERS_FROM_SCRATCH:
        yield (
            f"warning: {prepared.documents.characters:,} characters are too few to learn a "
            "language from; --from MODEL starts from a model that knows one"
        )
    if not fits:
        yield (
            "warning: that is more memory than is free; use "
            + ("--lora, " if run.base and not run.lora_rank else "")
            + "a smaller --tokens-per-step or --context"
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"

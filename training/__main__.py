"""Command line: ``python -m training``, behind ``scripts/train_model``."""

import argparse
import errno
import json
import shlex
import sys
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from transformers.utils import logging as transformers_logging

from training.card import CURVE_FILE
from training.corpus import Corpus, read_corpus
from training.curve import draw
from training.errors import TrainingError
from training.figures import Figure, measure_checkpoint, references, score_held_out, table
from training.model import load_model, new_model
from training.options import parser
from training.ownership import check_output, keep_changed, note_written
from training.plan import heads, plan
from training.progress import say
from training.publish import Publication, curve_file, publish, save_weights
from training.run import check_same_run, keep_what_was_automatic, train, write_whole
from training.settings import Reporting, RunSettings
from training.trainer import check_space, phases_of
from training.vocabulary import encode_pieces, load_tokenizer, train_tokenizer
from training.windows import tokens_at

# What people may have changed in a finished run: a resumed one writes it again.
PUBLISHED = ("README.md", "examples.json", "generation_config.json", "config.json", CURVE_FILE)
AUTOMATIC = {"precision": "precision", "compile": "compiled"}  # option -> setting of the run
TOKENIZER = "tokenizer"
MADE_FOR = "made-for.txt"
# Two checkpoints with weights and two moments in float32, and what a third takes meanwhile.
BYTES_PER_WEIGHT = 50
SPACE_FOR_THE_REST = 5_000_000  # card, curve, tokenizer
NO_SPACE = "no space left on the disk; free some and start the same command again"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when all went well, 1 with one line of error, 130 when interrupted."""
    options = parser().parse_args(arguments)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        if options.evaluate:
            evaluate(options)
        else:
            train_and_publish(options)
    except TrainingError as error:
        say(f"error: {error}")
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC and error.filename is None:
            raise
        full = error.errno == errno.ENOSPC
        say(f"error: {NO_SPACE if full else f'{error.filename}: {error.strerror}'}")
        return 1
    except (RuntimeError, SafetensorError) as error:
        # torch's and safetensors' writers have errors of their own for a full disk.
        if not any(words in str(error) for words in ("No space left", "PytorchStreamWriter")):
            raise
        say(f"error: {NO_SPACE}")
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command goes on from the last checkpoint")
        return 130
    return 0


def evaluate(options: argparse.Namespace) -> None:
    """Print the figures of models that exist."""
    corpus = read_corpus(options.text, options.min_characters or 10_000)
    figures = []
    for source in options.evaluate:
        say(f"measuring {source}")
        figures.append(measure_checkpoint(source, corpus))
    if not options.no_references:
        figures += references(corpus, say)
    print(table(figures))


def train_and_publish(options: argparse.Namespace) -> None:
    """Text in, checkpoint directory out."""
    corpus = read_corpus(
        options.text, options.min_characters or (10_000 if options.base else 200_000)
    )
    output = options.output or Path("training-runs") / (options.name or options.text.stem)
    check_output(output)
    prompts = _read_prompts(options.prompts)
    model, tokenizer = _model_and_tokenizer(options, corpus, output)
    start = int(model.config.bos_token_id)
    stream = np.concatenate(encode_pieces(tokenizer, corpus.train, start))
    base = model.config if options.base else None
    run = plan(options, corpus, base, model.config.vocab_size, len(stream))
    reporting = Reporting(
        output,
        options.save_every,
        options.evaluate_every or max(1, run.steps // 10),
        options.progress_seconds,
    )
    automatic = [name for option, name in AUTOMATIC.items() if getattr(options, option) == "auto"]
    run = keep_what_was_automatic(run, output, automatic)
    run, changes = check_same_run(run, output)
    if not options.base:
        _keep_tokenizer(tokenizer, output, _tokenizer_key(options, corpus))
    before = _before(model, tokenizer, corpus, output, run)
    log = train(model, tokenizer, corpus, stream, run, reporting)
    check_space(output, 2 * model.num_parameters() + SPACE_FOR_THE_REST)
    kept = keep_changed(output, PUBLISHED)
    if kept:
        say(f"kept, since they were not as this command wrote them: {', '.join(kept)}")
    save_weights(model, tokenizer, output)
    phases = phases_of(run)
    draw(log, lambda step: tokens_at(phases, step), curve_file(output))
    publication = Publication(
        name=options.name or output.name,
        license=options.license,
        about=options.about,
        prompts=prompts,
        with_references=not options.no_references,
        with_sweep=not options.no_sweep,
        samples=options.samples,
        changes=tuple(changes),
    )
    seen = tokens_at(phases, run.steps), len(stream)
    figures = publish(
        output, before, corpus, _sources(options.text), run, seen, tokenizer, publication
    )
    note_written(output, PUBLISHED)
    print(table(figures))
    say(f"done: {output}\nnext: ./scripts/package_model --model {shlex.quote(str(output))}")


def _model_and_tokenizer(
    options: argparse.Namespace, corpus: Corpus, output: Path
) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast]:
    if options.base:
        overrides = {}
        if options.dropout is not None:
            dropouts = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
            overrides = dict.fromkeys(dropouts, options.dropout)
        model = load_model(options.base, **overrides)
        check_space(output, BYTES_PER_WEIGHT * model.num_parameters())
        return model, load_tokenizer(options.base)
    count = heads(options)
    context = options.context or 512
    weights = options.width * (12 * options.layers * options.width + options.vocab_size + context)
    check_space(output, BYTES_PER_WEIGHT * weights)
    kept = output / TOKENIZER
    if _is_kept_for(_tokenizer_key(options, corpus), kept):
        tokenizer = load_tokenizer(str(kept))
    else:
        say(f"training a byte-level BPE of {options.vocab_size:,} tokens")
        tokenizer = train_tokenizer(corpus.train, options.vocab_size, context)
    set_seed(options.seed)
    model = new_model(
        len(tokenizer), context, options.layers, options.width, count, options.dropout or 0.0
    )
    return model, tokenizer


def _tokenizer_key(options: argparse.Namespace, corpus: Corpus) -> str:
    """What a tokenizer was trained on and for: another text or size needs another one."""
    return f"{corpus.digest} {options.vocab_size}\n"


def _is_kept_for(key: str, kept: Path) -> bool:
    made_for = kept / MADE_FOR
    return made_for.is_file() and made_for.read_text() == key


def _keep_tokenizer(tokenizer: PreTrainedTokenizerFast, output: Path, key: str) -> None:
    """Keep it for when the run is resumed; its last file says that it is whole."""
    kept = output / TOKENIZER
    if not _is_kept_for(key, kept):
        tokenizer.save_pretrained(kept)
        write_whole(kept / MADE_FOR, key)


def _before(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    output: Path,
    run: RunSettings,
) -> Figure:
    """The figure of the model before training, kept for when the run is resumed."""
    kept = output / "before.json"
    if kept.is_file():
        return Figure(**json.loads(kept.read_text()))
    say("measuring before training")
    result = score_held_out(model, tokenizer, corpus)
    name = f"{run.base}, before fine-tuning" if run.base else "the same before training"
    figure = Figure(name, result.bits_per_character, result.perplexity)
    write_whole(kept, json.dumps(figure.__dict__) + "\n")
    return figure


def _read_prompts(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    try:
        prompts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"--prompts: {file} is no readable JSON file") from error
    if (
        not prompts
        or not isinstance(prompts, list)
        or not all(isinstance(prompt, str) for prompt in prompts)
    ):
        raise TrainingError(f"--prompts: {file} is not a list of texts")
    return tuple(prompts)


def _sources(text: Path) -> Path:
    return (text if text.is_dir() else text.parent) / "SOURCES.tsv"


if __name__ == "__main__":
    sys.exit(main())

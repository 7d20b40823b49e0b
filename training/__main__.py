"""Command line: ``python -m training``, behind ``scripts/train_model``."""

import argparse
import errno
import json
import shlex
import sys
import warnings
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from transformers.utils import logging as transformers_logging

from training.card import CURVE_FILE
from training.corpus import Corpus
from training.curve import draw
from training.errors import TrainingError
from training.figures import Figure, measure_checkpoint, references, score_held_out, table
from training.lora import add_lora, merge_lora
from training.options import parser
from training.ownership import check_output, keep_changed, note_written
from training.plan import LOOKS
from training.prepare import keep_tokenizer, prepare, read_corpus
from training.progress import say
from training.publish import Publication, curve_file, publish, save_weights
from training.reading.sources import TABLE_OF_SOURCES
from training.report import report
from training.run import check_same_run, keep_what_was_automatic, train, write_whole
from training.settings import Reporting, RunSettings
from training.trainer import check_space, phases_of
from training.windows import tokens_at

# What people may have changed in a finished run: a resumed one writes it again.
PUBLISHED = ("README.md", "examples.json", "generation_config.json", "config.json", CURVE_FILE)
AUTOMATIC = {"precision": "precision", "compile": "compiled"}  # option -> setting of the run
SPACE_FOR_THE_REST = 5_000_000  # card, curve, tokenizer
NO_SPACE = "no space left on the disk; free some and start the same command again"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when all went well, 1 with one line of error, 130 when interrupted."""
    options = parser().parse_args(arguments)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # What peft asks of transformers today is no news to the person who trains.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
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
        say("stopped; the same command resumes at the last checkpoint")
        return 130
    return 0


def evaluate(options: argparse.Namespace) -> None:
    """Print the figures of models that exist."""
    _, corpus = read_corpus(options)
    figures = []
    for source in options.evaluate:
        say(f"measuring {source}")
        figures.append(measure_checkpoint(source, corpus))
    if not options.no_references:
        figures += references(corpus, say)
    print(table(figures))


def train_and_publish(options: argparse.Namespace) -> None:
    """Text in, checkpoint directory out."""
    output = options.output or Path("training-runs") / (options.name or name_of(options.text[0]))
    check_output(output)
    prompts = _read_prompts(options.prompts)
    prepared = prepare(options, output)
    for line in report(prepared):
        say(line)
    if options.check:
        return
    run, changes = _settle(options, prepared.run, output)
    corpus, tokenizer, model = prepared.corpus, prepared.tokenizer, prepared.model
    output.mkdir(parents=True, exist_ok=True)
    keep_tokenizer(prepared, options, output)
    before = _before(model, tokenizer, corpus, output, run)
    set_seed(run.seed)
    trained = add_lora(model, run.lora_rank) if run.lora_rank else model
    outcome = train(
        trained, tokenizer, corpus, prepared.stream, run, _reporting(options, run, output)
    )
    model = merge_lora(trained)
    check_space(output, 2 * model.num_parameters() + SPACE_FOR_THE_REST)
    kept = keep_changed(output, PUBLISHED)
    if kept:
        say(f"kept, since they have changed since this command wrote them: {', '.join(kept)}")
    save_weights(model, tokenizer, output)
    phases = phases_of(run)
    draw(outcome.log, lambda step: tokens_at(phases, step), curve_file(output))
    if run.stop_check_every:
        changes.append(f"the held-out loss was lowest there (of {outcome.steps:,} steps)")
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
    seen = tokens_at(phases, outcome.best), len(prepared.stream)
    best = replace(run, steps=outcome.best)
    figures = publish(
        output, before, corpus, _sources(options.text[0]), best, seen, tokenizer, publication
    )
    note_written(output, PUBLISHED)
    print(table(figures))
    say(f"done: {output}\nnext: ./scripts/package_model --model {shlex.quote(str(output))}")


def _settle(
    options: argparse.Namespace, run: RunSettings, output: Path
) -> tuple[RunSettings, list[str]]:
    """The run as it goes on, where it was begun before, and what was changed under way."""
    automatic = [name for option, name in AUTOMATIC.items() if getattr(options, option) == "auto"]
    return check_same_run(keep_what_was_automatic(run, output, automatic), output)


def _reporting(options: argparse.Namespace, run: RunSettings, output: Path) -> Reporting:
    """What is reported and kept on the way."""
    return Reporting(
        output,
        options.save_every,
        options.evaluate_every or max(1, run.steps // LOOKS),
        options.progress_seconds,
    )


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
        raise TrainingError(f"--prompts: {file} is not a readable JSON file") from error
    if (
        not prompts
        or not isinstance(prompts, list)
        or not all(isinstance(prompt, str) for prompt in prompts)
    ):
        raise TrainingError(f"--prompts: {file} is not a list of strings")
    return tuple(prompts)


def name_of(text: str) -> str:
    """What a run is called after its text, where nobody says."""
    path = Path(text)
    # A pattern, a pipe and standard input have no name that one would look for.
    named = path.is_file() or path.is_dir()
    return (path.resolve().name.split(".")[0] if named else "") or "text"


def _sources(text: str) -> Path:
    path = Path(text)
    return (path if path.is_dir() else path.parent) / TABLE_OF_SOURCES


if __name__ == "__main__":
    sys.exit(main())

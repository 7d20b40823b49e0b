"""The command line of ``scripts/train_model`` and the defaults behind it."""

import argparse
import codecs
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from training.reading.document import FORMATS

Number = TypeVar("Number", int, float)


def _number(
    kind: Callable[[str], Number], what: str, is_taken: Callable[[Number], bool]
) -> Callable[[str], Number]:
    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None
        if not is_taken(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return read


positive_int = _number(int, "a whole number above 0", lambda value: value >= 1)
non_negative_int = _number(int, "a whole number from 0 on", lambda value: value >= 0)
positive_float = _number(float, "a number above 0", lambda value: 0 < value < math.inf)
non_negative_float = _number(float, "a number from 0 on", lambda value: 0 <= value < math.inf)
probability = _number(float, "a number from 0 to below 1", lambda value: 0 <= value < 1)
vocabulary_size = _number(
    int, "a whole number from 257 on: all bytes and the end of text", lambda value: value >= 257
)


DESCRIPTION = """\
Train a GPT-2 on a text, from scratch or from a model that exists, or measure one.

  from scratch    ./scripts/train_model --text DIR --output my-model
  fine-tuning     ./scripts/train_model --text DIR --from openai-community/gpt2 --output my-model
  looking first   ./scripts/train_model --text DIR --from openai-community/gpt2 --check
  measuring       ./scripts/train_model --text DIR --evaluate my-model

The same command again resumes a stopped run, with the same result. What comes out is a
checkpoint directory with a model card, ready for ./scripts/package_model --model my-model.
"""


def parser() -> argparse.ArgumentParser:
    """All options, grouped as a person looks for them."""
    result = argparse.ArgumentParser(
        prog="train_model",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add(
        "--text",
        nargs="+",
        required=True,
        metavar="PATH",
        help="files, folders, patterns ('books/**/*.md'), a pipe, or - for standard input: plain "
        "text, JSON Lines, CSV, TSV or Parquet, packed (.gz, .zst, .bz2, .xz, .zip) or not",
    )
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="checkpoint directory to make or to resume (default: training-runs/NAME)",
    )
    add(
        "--from",
        dest="base",
        metavar="DIR_OR_HUB_ID",
        help="fine-tune this GPT-2, in any format that package_model reads, instead of starting "
        "from scratch",
    )
    add(
        "--evaluate",
        nargs="+",
        metavar="DIR_OR_HUB_ID",
        help="train nothing; measure these "
        "models on the held-out part of the text, beside the references",
    )
    add(
        "--check",
        action="store_true",
        help="train nothing and write nothing; report what the text is, and what a run would take",
    )
    _text(result.add_argument_group("how to read the text"))
    _training(result.add_argument_group("training"))
    _shape(result.add_argument_group("shape of a model from scratch"))
    _card(result.add_argument_group("measuring and the card"))
    _limits(result.add_argument_group("this machine"))
    return result


def _text(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--lines", action="store_true", help="each line is a text of its own")
    add(
        "--separator",
        type=separator,
        metavar="MARK",
        help="what separates two documents, such as '\\n***\\n' (<|endoftext|> is found by itself)",
    )
    add(
        "--column",
        metavar="NAME",
        help="field or column that is the text (default: text; prompt and completion; messages; "
        "the only one)",
    )
    add("--no-header", action="store_true", help="the first row of a table is a text already")
    add(
        "--format",
        choices=FORMATS,
        default="auto",
        help="of all that --text names (default: by name and content of each)",
    )
    add(
        "--encoding",
        type=encoding,
        metavar="NAME",
        help="of files that are neither UTF-8 nor marked as UTF-16 or 32, as windows-1252",
    )
    add(
        "--chat-template",
        type=Path,
        metavar="FILE",
        help="Jinja template that writes messages as text (default: that of the model of --from)",
    )


def _training(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--passes",
        type=positive_float,
        metavar="N",
        help="passes over the text (default: 4 from scratch, 3 for fine-tuning, or what 200 steps "
        "take; fewer where the held-out loss goes up before)",
    )
    add("--steps", type=positive_int, metavar="N", help="steps, instead of --passes")
    add(
        "--lora",
        nargs="?",
        type=positive_int,
        const=16,
        metavar="RANK",
        help="with --from: train small matrices of this rank (default: %(const)s) beside the "
        "weights, which takes a fraction of the memory; they are merged at the end",
    )
    add(
        "--tokens-per-step",
        type=positive_int,
        metavar="N",
        help="default: 8192 from scratch, 2048 for fine-tuning, fewer for a short text",
    )
    add(
        "--optimizer",
        choices=("muon", "adamw"),
        help="muon: Muon for the matrices of the blocks "
        "and AdamW for the rest (default from scratch); adamw: AdamW alone (default with --from)",
    )
    add(
        "--learning-rate",
        type=positive_float,
        metavar="LR",
        help="AdamW's peak (default: 8e-3 beside Muon, 2e-3 alone; for fine-tuning 2e-4 at GPT-2's "
        "width, more for narrower models; with --lora ten times that)",
    )
    add(
        "--muon-learning-rate",
        type=positive_float,
        default=0.02,
        metavar="LR",
        help="Muon's peak (default: %(default)s)",
    )
    add(
        "--weight-decay",
        type=non_negative_float,
        metavar="X",
        help="default: 0.1, for fine-tuning 0.01",
    )
    add(
        "--dropout",
        type=probability,
        metavar="P",
        help="default: 0, for fine-tuning the model's own",
    )
    add("--seed", type=non_negative_int, default=0, metavar="N", help="default: %(default)s")


def _shape(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--layers", type=positive_int, default=6, metavar="N", help="default: %(default)s")
    add("--width", type=positive_int, default=320, metavar="N", help="default: %(default)s")
    add("--heads", type=positive_int, metavar="N", help="default: one for 64 of the width")
    add(
        "--vocab-size",
        type=vocabulary_size,
        default=6144,
        metavar="N",
        help="tokens of the BPE, at most (default: %(default)s)",
    )
    add(
        "--context",
        type=positive_int,
        metavar="N",
        help="tokens a model sees (default: 512; for fine-tuning at most the model's own)",
    )


def _card(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--name", help="name in the card (default: the name of --output)")
    add("--about", metavar="SENTENCE", help="first sentence of the card")
    add("--license", metavar="ID", help="licence of the weights, for the card")
    add(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="JSON list of prompts for samples and for the "
        "page's examples (default: openings of held-out text)",
    )
    add(
        "--samples",
        type=positive_int,
        default=20,
        metavar="N",
        help="samples in the card (default: %(default)s)",
    )
    add("--no-references", action="store_true", help="skip the n-gram models and xz")
    add(
        "--no-sweep",
        action="store_true",
        help="keep temperature 0.8, top_p 0.95, repetition_penalty 1.1 instead of choosing them",
    )


def _limits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--save-every",
        type=positive_int,
        default=100,
        metavar="STEPS",
        help="steps between two checkpoints, from which a run resumes (default: %(default)s)",
    )
    add(
        "--evaluate-every",
        type=positive_int,
        metavar="STEPS",
        help="held-out loss and a sample on the way (default: ten times a run)",
    )
    add(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="auto: bf16 where the hardware has it for matrices (default: %(default)s)",
    )
    add(
        "--compile",
        choices=("auto", "yes", "no"),
        default="auto",
        help="torch.compile; auto: from "
        "300 steps on where a C++ compiler is found (default: %(default)s)",
    )
    add(
        "--progress-seconds",
        type=positive_float,
        default=10.0,
        metavar="S",
        help="time between two lines of progress (default: %(default)s)",
    )


def separator(text: str) -> str:
    r"""A mark between documents, with ``\n`` and ``\t`` for line end and tab."""
    mark = text.replace("\\n", "\n").replace("\\t", "\t")
    if not mark:
        raise argparse.ArgumentTypeError("an empty mark separates nothing")
    return mark


def encoding(name: str) -> str:
    """An encoding that Python knows and that gives text."""
    try:
        text = codecs.lookup(name)._is_text_encoding
    except LookupError:
        text = False
    if not text:
        raise argparse.ArgumentTypeError(
            f"{name} is not a known encoding (utf-16, windows-1252, shift_jis, ...)"
        )
    return name

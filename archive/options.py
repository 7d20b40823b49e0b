"""The command line of scripts/package_model; needs nothing but the standard library."""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ("native", "torch")
PRECISIONS = ("auto", "int4", "int8", "fp32")
CACHES = ("auto", "int8", "float32")
FORMATS = ("default", "tgz", "no-archive")
LAYOUTS = ("store", "kserve")
EXAMPLES = """\
examples:
  ./scripts/package_model                                   model_store/gpt2-tales.mar, the embedded
  ./scripts/package_model --model gpt2                      model_store/gpt2.mar, from the hub
  ./scripts/package_model --model distilgpt2 --name distil  model_store/distil.mar
  ./scripts/package_model --model ./my-checkpoint --version 2.0
  ./scripts/package_model --model gpt2 --precision fp32     no quantisation
  ./scripts/package_model --model gpt2 --precision int4     half of int8's memory, some quality
"""


def parser() -> argparse.ArgumentParser:
    """All options."""
    result = argparse.ArgumentParser(
        prog="package_model",
        description="Builds an archive (.mar) that TorchServe serves from a GPT-2 checkpoint.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--check",
        action="store_true",
        help=(
            "pack nothing: report what the checkpoint is, what is unusual about it, and what "
            "would happen"
        ),
    )
    _add_checkpoint(result.add_argument_group("what is packed"))
    _add_archive(result.add_argument_group("the archive"))
    _add_scheme(result.add_argument_group("how it is computed"))
    return result


def _add_checkpoint(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model",
        default=str(ROOT / "models" / "gpt2-tales"),
        metavar="DIR_FILE_OR_HUB_ID",
        help="checkpoint: a directory, a file (ckpt.pt, model.gguf ...), or ID or ID@REVISION on "
        "the Hugging Face hub (default: the embedded model)",
    )
    group.add_argument(
        "--tokenizer",
        metavar="gpt2|DIR|HUB_ID",
        help="another tokenizer than the checkpoint's; gpt2 is GPT-2's own, which needs no hub",
    )
    group.add_argument(
        "--base",
        metavar="DIR_FILE_OR_HUB_ID",
        help="the model that a LoRA adapter was trained on (default: the one that it names)",
    )
    group.add_argument(
        "--chat-template",
        type=Path,
        metavar="FILE",
        help="a chat template (Jinja), instead of the checkpoint's own if it has one: it makes "
        "a prompt of the messages at /v1/chat/completions",
    )


def _add_archive(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--name", help="the model's name (default: its directory's or hub id's)")
    group.add_argument("--version", default="1.0", help="the model's version (default: 1.0)")
    group.add_argument(
        "--output",
        type=Path,
        default=ROOT / "model_store",
        metavar="DIR",
        help="where NAME.mar is written (default: model_store)",
    )
    group.add_argument(
        "--replace",
        action="store_true",
        help="overwrite NAME.mar even if it holds another model (one from the same source is "
        "replaced anyway)",
    )
    group.add_argument(
        "--archive-format",
        choices=FORMATS,
        default="default",
        help="as torch-model-archiver has it: NAME.mar (default), NAME.tar.gz (tgz), or a folder "
        "NAME (no-archive); SageMaker's containers read the latter two",
    )
    group.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="store",
        help="kserve: DIR/model-store with the archive, and DIR/config/config.properties, as "
        "KServe's TorchServe containers read them (default: store, the archive in DIR itself)",
    )


def _add_scheme(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default="native",
        help="what computes the model (default: native, in C on any processor with AVX2 or ARM's "
        "dot products; torch packs the weights as they are)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the matrix products (default: as in config/model-config.yaml, auto there: the "
        "fastest of int8 and fp32 whose measured quality is good; int4 halves the memory and is "
        "faster for few streams, at some cost in quality)",
    )
    group.add_argument(
        "--cache",
        choices=CACHES,
        help="of keys and values (default: as in config/model-config.yaml, auto there: int8 where "
        "its measured quality is good; float32 beside --precision fp32)",
    )
    group.add_argument(
        "--calibration-text",
        type=Path,
        metavar="FILE",
        help="calibrate and measure on this text instead of the bundled English prose",
    )

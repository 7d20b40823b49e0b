"""The command line behind scripts/package_model."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from archive.errors import PackagingError
from archive.naming import default_name, plain_name
from archive.packing import ROOT, Target
from archive.settings import CACHES, ENGINES, PRECISIONS, Settings, packaging_defaults

EXAMPLES = """\
examples:
  ./scripts/package_model                                   model_store/gpt2-tales.mar, the embedded
  ./scripts/package_model --model gpt2                      model_store/gpt2.mar, from the hub
  ./scripts/package_model --model distilgpt2 --name distil  model_store/distil.mar
  ./scripts/package_model --model ./my-checkpoint --version 2.0
  ./scripts/package_model --model gpt2 --precision fp32     no quantisation
"""


def parse_arguments(arguments: list[str] | None = None) -> Settings:
    """Turn the command line into settings; argparse ends the process on a bad one."""
    parser = argparse.ArgumentParser(
        prog="package_model",
        description="Builds an archive (.mar) that TorchServe serves from a GPT-2 checkpoint.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default=str(ROOT / "models" / "gpt2-tales"),
        metavar="DIR_FILE_OR_HUB_ID",
        help="checkpoint: a directory, a file (ckpt.pt, model.gguf ...), or ID or ID@REVISION on "
        "the Hugging Face hub (default: the embedded model)",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="gpt2|DIR|HUB_ID",
        help="another tokenizer than the checkpoint's; gpt2 is GPT-2's own, which needs no hub",
    )
    parser.add_argument(
        "--base",
        metavar="DIR_FILE_OR_HUB_ID",
        help="the model that a LoRA adapter was trained on (default: the one that it names)",
    )
    parser.add_argument("--name", help="the model's name (default: its directory's or hub id's)")
    parser.add_argument(
        "--replace",
        action="store_true",
        help="overwrite NAME.mar even if it holds another model (one of the same place is "
        "replaced anyway)",
    )
    parser.add_argument("--version", default="1.0", help="the model's version (default: 1.0)")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "model_store",
        metavar="DIR",
        help="where NAME.mar is written (default: model_store)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="native",
        help="what computes the model (default: native, in C on any processor with AVX2 or ARM's "
        "dot products; torch packs the weights as they are)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the matrix products (default: as in config/model-config.yaml, auto there: the "
        "fastest whose measured quality is good)",
    )
    parser.add_argument(
        "--cache",
        choices=CACHES,
        help="of keys and values (default: as in config/model-config.yaml, auto there: int8 where "
        "its measured quality is good; float32 beside --precision fp32)",
    )
    parser.add_argument(
        "--calibration-text",
        type=Path,
        metavar="FILE",
        help="calibrate and measure on this text in place of the bundled English prose",
    )
    chosen = parser.parse_args(arguments)
    defaults = packaging_defaults()
    name = default_name(chosen.model) if chosen.name is None else plain_name(chosen.name)
    return Settings(
        model=chosen.model,
        target=Target(name, chosen.version, chosen.output),
        may_replace=chosen.replace,
        engine=chosen.engine,
        precision=chosen.precision or defaults["precision"],
        cache=chosen.cache or defaults["cache"],
        calibration_text=chosen.calibration_text,
        tokenizer=chosen.tokenizer,
        base=chosen.base,
    )


def main() -> int:
    """Package a model; one line on stderr and status 1 if that fails."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        settings = parse_arguments()
        # Imported once the arguments are good, so that --help and mistakes are answered at once.
        from archive.package import package_model

        package_model(settings)
    except PackagingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Checkpoint directory -> OpenVINO model with int8 weights, by optimum-intel and nncf."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def convert(checkpoint: Path, target: Path) -> None:
    """Write model and tokenizer into `target`."""
    optimum: Any = import_module("optimum.intel")
    transformers: Any = import_module("transformers")
    openvino: Any = import_module("openvino")
    tokenizers: Any = import_module("openvino_tokenizers")
    model = optimum.OVModelForCausalLM.from_pretrained(
        str(checkpoint), export=True, load_in_8bit=True, compile=False
    )
    model.save_pretrained(str(target))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(checkpoint / "tokenizer.json"),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
    )
    tokenizer.save_pretrained(str(target))
    encoder, decoder = tokenizers.convert_tokenizer(tokenizer, with_detokenizer=True)
    openvino.save_model(encoder, str(target / "openvino_tokenizer.xml"))
    openvino.save_model(decoder, str(target / "openvino_detokenizer.xml"))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))

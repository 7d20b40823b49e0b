"""Reads the JSON files of a checkpoint, and recognises Git LFS pointers in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archive.errors import CheckpointError

# The first line of what git leaves where Git LFS has not brought the file.
POINTER = b"version https://git-lfs.github.com/spec/"
# Files of a tokenizer, whichever kind it is.
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "vocab.bpe", "encoder.json", "*.model"),
    *("*.tiktoken", "chat_template.jinja", "meta.pkl"),
)
# What is read beside the weights.
BESIDE = ("config.json", "generation_config.json", "adapter_config.json", "hparams.json")
EXAMPLES = "examples.json"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; CheckpointError names the file if it is none."""
    try:
        refuse_pointer(path)
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CheckpointError(f"no {path.name} in the checkpoint") from None
    except OSError as error:  # a directory, no right to read, a disk that fails
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise CheckpointError(f"{path.name} is broken: it is not JSON") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} is broken: it is not a JSON object")
    return value


def refuse_pointers(directory: Path) -> None:
    """Raise CheckpointError if Git LFS has yet to bring a file of a tokenizer, or examples."""
    for pattern in (*TOKENIZER, EXAMPLES):
        for path in directory.glob(pattern):
            if path.is_file():
                refuse_pointer(path)


def refuse_pointer(path: Path) -> None:
    """Raise CheckpointError for a file that Git LFS has yet to bring, or that is none at all."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise CheckpointError(f"{path.name} is not a file")
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise CheckpointError(
                f'{path.name} is not here yet, only its Git LFS pointer: run "git lfs pull" in '
                "the checkpoint's directory"
            )

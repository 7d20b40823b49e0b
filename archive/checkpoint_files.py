"""Copies a checkpoint's own files into the archive, and reads its licence and examples."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import yaml

from archive.checkpoint import Checkpoint
from archive.errors import CheckpointError

KEPT_FILES = ("tokenizer_config.json", "generation_config.json")
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
# First words that the page offers where a checkpoint brings none of its own.
NEUTRAL_EXAMPLES = (
    "Once upon a time",
    "The old captain looked at the sea and",
    "It was a dark night, and the wind",
    "There was nothing in the letter but",
)


def copy_checkpoint_files(checkpoint: Checkpoint, model: Path) -> None:
    """Copy configuration and tokenizer into `model`; tokenizer.json says all of the tokenizer."""
    text = json.dumps(checkpoint.config, indent=2, ensure_ascii=False) + "\n"
    (model / "config.json").write_text(text, encoding="utf-8")
    for name in KEPT_FILES:
        source = checkpoint.directory / name
        if source.is_file():
            shutil.copyfile(source, model / name)
    checkpoint.tokenizer.save(str(model / "tokenizer.json"))


def read_license(directory: Path) -> str | None:
    """Return the licence that the model card's front matter names, if any."""
    card = directory / "README.md"
    if not card.is_file():
        return None
    match = FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace"))
    if match is None:
        return None
    try:
        front = yaml.safe_load(match.group(1))
    except yaml.YAMLError:
        return None
    license_name = front.get("license") if isinstance(front, dict) else None
    return license_name if isinstance(license_name, str) else None


def read_examples(directory: Path) -> list[str]:
    """Return the checkpoint's example prompts, or neutral ones."""
    path = directory / "examples.json"
    if not path.is_file():
        return list(NEUTRAL_EXAMPLES)
    try:
        examples = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        examples = None
    if not isinstance(examples, list) or not all(isinstance(text, str) for text in examples):
        raise CheckpointError("examples.json is broken: a list of strings is needed")
    return examples

"""Finds the chat template of a checkpoint, where `transformers` looks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archive.checkpoint import Checkpoint
from archive.errors import CheckpointError, PackagingError
from archive.reading import read_json
from handler.archive_metadata import CHAT_TEMPLATE

# DialoGPT's turns: models of it that are older than templates say so in their config alone.
TURNS = "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}"
DEFAULT = "default"


def find_chat_template(given: Path | None, checkpoint: Checkpoint, tokenizer: Path) -> str | None:
    """Return the template: the one that was given, or that of the tokenizer's directory.

    Raises PackagingError if the file that was given cannot be read, CheckpointError if the
    checkpoint's own is none.
    """
    if given is not None:
        try:
            return given.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise PackagingError(f"--chat-template {given}: {reason}") from None
    file, config = tokenizer / CHAT_TEMPLATE, tokenizer / "tokenizer_config.json"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{CHAT_TEMPLATE} is broken: it is not UTF-8") from None
    named = read_json(config).get("chat_template") if config.is_file() else None
    template = _default(named)
    if template is None and _is_conversational(checkpoint.config):
        return TURNS
    return template


def _default(named: Any) -> str | None:
    """The template of tokenizer_config.json; of several the one that is called default."""
    if isinstance(named, list):
        several = {
            one["name"]: one.get("template")
            for one in named
            if isinstance(one, dict) and isinstance(one.get("name"), str)
        }
        named = several.get(DEFAULT)
    if named is None or isinstance(named, str):
        return named
    raise CheckpointError(
        "tokenizer_config.json: chat_template is neither a string nor a list of templates"
    )


def _is_conversational(config: dict[str, Any]) -> bool:
    tasks = config.get("task_specific_params")
    return isinstance(tasks, dict) and "conversational" in tasks

"""Puts results on a terminal or into a pipe, for people or as JSON. Knows no server."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Mapping
from typing import TextIO

from gpt2_client.cli import standard
from gpt2_client.results import Choice, ModelStatus, Usage

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


RED, DIM = "31", "2"


class Terminal:
    """Where output goes. A model may write escape codes: a person's screen never gets them."""

    def __init__(
        self,
        as_json: bool,
        out: TextIO | None = None,
        notes: TextIO | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.as_json = as_json
        self.environment = environment
        self._out = out or sys.stdout
        self._notes = notes or sys.stderr

    @property
    def width(self) -> int:
        """Columns to draw in: COLUMNS, or the terminal's."""
        return shutil.get_terminal_size().columns

    def has_colour(self, stream: TextIO | None = None) -> bool:
        """Whether colours are shown on standard output, or on another stream."""
        is_dumb = self.environment.get("TERM") in (None, "dumb")
        return (
            not self.environment.get("NO_COLOR") and not is_dumb and (stream or self._out).isatty()
        )

    def text(self, text: str) -> None:
        """Write a part of a completion at once, without a line end."""
        standard.write(self._out, text.translate(_CONTROLS) if self._out.isatty() else text)

    def drawn(self, text: str) -> None:
        """Write a line that we made, colours and all."""
        standard.write(self._out, text + "\n")

    def line(self, text: str = "") -> None:
        """Write a line of output."""
        self.text(text + "\n")

    def note(self, text: str, colour: str = "") -> None:
        """Write a line that is not output: errors, figures. Lost where nobody can read it."""
        text = text.translate(_CONTROLS)
        if colour and self.has_colour(self._notes):
            text = f"\x1b[{colour}m{text}\x1b[0m"
        self._write_note(text + "\n")

    def progress(self, text: str) -> None:
        """Draw a line over the one before, on a terminal alone; an empty one takes it away."""
        if self._notes.isatty():
            self._write_note(f"\r{text[: self.width - 1]}\x1b[K")

    def _write_note(self, text: str) -> None:
        try:
            self._notes.write(text)
            self._notes.flush()
        except OSError:
            standard.silence(self._notes)

    def json(self, value: object) -> None:
        """Write one line of JSON; dataclasses become objects without their `raw` field."""
        standard.write(self._out, json.dumps(plain(value), ensure_ascii=False) + "\n")


def plain(value: object) -> object:
    """Turn results into what json can write."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: plain(item) for name, item in pairs if name != "raw"}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def figures(usage: Usage | None, choices: list[Choice] | None, seconds: float) -> str:
    """Sum up a text in one line: `20 tokens in 0.31 s (64.5 tokens/s), ended by length`."""
    parts = []
    if usage is not None:
        rate = usage.completion_tokens / seconds if seconds > 0 else 0.0
        parts.append(f"{usage.completion_tokens} tokens in {seconds:.2f} s ({rate:.1f} tokens/s)")
        if usage.cached_tokens:
            parts.append(
                f"{usage.cached_tokens} of {usage.prompt_tokens} prompt tokens from the cache"
            )
        if usage.truncated_tokens:
            parts.append(f"{usage.truncated_tokens} tokens cut off the prompt's beginning")
    reasons = sorted({choice.finish_reason or "?" for choice in choices or ()})
    if reasons:
        parts.append("ended by " + ", ".join(reasons))
    return "; ".join(parts)


def status_lines(status: ModelStatus) -> list[str]:
    """Describe a registered version for people."""
    head = f"{status.name} {status.version}: {'ready' if status.ready else 'not ready'}"
    lines = [f"{head}, {status.min_workers} to {status.max_workers} workers, {status.archive}"]
    for worker in status.workers:
        memory = f", {worker.memory_bytes / 1e6:.0f} MB" if worker.memory_bytes else ""
        lines.append(f"  worker {worker.id}: {worker.status}{memory}")
    return lines

"""Puts results on a terminal or into a pipe, for people or as JSON. Knows no server."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TextIO

from gpt2_client.results import Choice, ModelStatus, Usage

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class Terminal:
    """Where output goes. A model may write escape codes: a person's screen never gets them."""

    def __init__(
        self, as_json: bool, out: TextIO | None = None, notes: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout
        self._notes = notes or sys.stderr

    def text(self, text: str) -> None:
        """Write a piece of generated text at once, without a line end."""
        self._out.write(text.translate(_CONTROLS) if self._out.isatty() else text)
        self._out.flush()

    def line(self, text: str = "") -> None:
        """Write a line of output."""
        self.text(text + "\n")

    def note(self, text: str) -> None:
        """Write a line that is not output: progress, errors, figures."""
        self._notes.write(text.translate(_CONTROLS) + "\n")
        self._notes.flush()

    def json(self, value: object) -> None:
        """Write one line of JSON; dataclasses become objects without their `raw` field."""
        self._out.write(json.dumps(plain(value), ensure_ascii=False) + "\n")
        self._out.flush()


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
            parts.append(f"{usage.cached_tokens} of {usage.prompt_tokens} prompt tokens known")
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

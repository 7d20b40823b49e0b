"""`gpt2 batch IN OUT`: a file of requests in OpenAI's batch format, answered to the last line."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from gpt2_client.batch.asker import Asker
from gpt2_client.batch.files import Source, Target
from gpt2_client.batch.gate import Gate
from gpt2_client.batch.run import Batch, Progress
from gpt2_client.cli.exit_codes import DONE, FAILED
from gpt2_client.cli.terminal import Terminal
from gpt2_client.client import Client
from gpt2_client.errors import ClientError

BAR_CELLS = 24
# A whole text in a long queue is silent for longer than one that is watched.
SILENCE_SECONDS = 600.0


def run(
    client: Client, args: argparse.Namespace, terminal: Terminal, connect: Callable[..., Client]
) -> int:
    """Answer what is not answered yet; the same command goes on after any end."""
    source = Source.open(Path(args.input))
    gate = Gate(args.parallel)
    asker = Asker(
        lambda: connect(timeout=args.timeout or SILENCE_SECONDS, retries=0), gate, args.patience
    )
    with Target(Path(args.output)) as target:
        progress = Progress(source.requests)
        models = {model.id: str(model.raw.get("content_sha256")) for model in client.models()}
        target.begin(source.digest, models, _started(terminal), progress.count)
        if not target.is_done:
            if progress.done:
                terminal.note(f"going on after {progress.done} of {source.requests} requests")
            bar = Bar(progress, gate, terminal)
            try:
                Batch(source, asker, target.created, args.parallel).run(target, progress, bar.show)
            except (ClientError, KeyboardInterrupt):
                terminal.progress("")
                terminal.note(
                    f"{progress.done} of {source.requests} are answered; "
                    "the same command goes on from there"
                )
                raise
            terminal.progress("")
            target.finish()
    return _summed_up(progress, target, terminal)


def _started(terminal: Terminal) -> int:
    """The moment for `created`; SOURCE_DATE_EPOCH makes two runs from the start alike."""
    epoch = terminal.environment.get("SOURCE_DATE_EPOCH", "")
    return int(epoch) if epoch.isascii() and epoch.isdigit() else int(time.time())


def _summed_up(progress: Progress, target: Target, terminal: Terminal) -> int:
    if target.is_done:
        terminal.note(f"{target.path} was already complete")
        return DONE
    terminal.note(f"{progress.done} requests, {progress.failed} of them failed: {target.path}")
    if terminal.as_json:
        terminal.json({"requests": progress.done, "failed": progress.failed})
    return FAILED if progress.failed else DONE


class Bar:
    """The line that says how far it is, drawn a few times a second on a terminal."""

    EVERY_SECONDS = 0.1

    def __init__(self, progress: Progress, gate: Gate, terminal: Terminal) -> None:
        self._progress = progress
        self._gate = gate
        self._terminal = terminal
        self._before = progress.done
        self._began = time.monotonic()
        self._drawn = 0.0

    def show(self) -> None:
        """Draw it, unless that was just done."""
        now = time.monotonic()
        if now - self._drawn < self.EVERY_SECONDS:
            return
        self._drawn = now
        self._terminal.progress(self._text(now - self._began))

    def _text(self, seconds: float) -> str:
        progress = self._progress
        share = progress.done / max(1, progress.requests)
        cells = round(BAR_CELLS * share)
        rate = (progress.done - self._before) / seconds if seconds else 0.0
        parts = [f"[{'#' * cells}{'.' * (BAR_CELLS - cells)}] {progress.done}/{progress.requests}"]
        parts.append(f"{rate:.1f}/s")
        parts.append(f"{self._gate.inside} at once")
        if progress.failed:
            parts.append(f"{progress.failed} failed")
        if self._gate.closed_seconds >= 1:
            parts.append(f"asked to wait {self._gate.closed_seconds:.0f} s")
        elif rate:
            left = int((progress.requests - progress.done) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
        return "  ".join(parts)

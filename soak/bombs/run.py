"""`./scripts/soak --bombs`: the longest gap of a neighbour's stream beside bombs of each kind.

Usual is what it is beside as many ordinary requests. Of some streams the best counts, since the
machine's other work only adds to it, while the bombs fall all the time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soak import store
from soak.bombs.bomber import bombing
from soak.bombs.kinds import BOMBS, ORDINARY, Bomb
from soak.service import Service

TOKENS = 300
STREAMS = 3
PATIENCE = 120.0


@dataclass(frozen=True)
class Gap:
    """The longest gap of a neighbour's stream beside a bomb, and beside ordinary requests."""

    seconds: float
    usual: float
    most_times: float

    @property
    def times(self) -> float:
        """The gap in times of the usual one."""
        return self.seconds / self.usual

    @property
    def is_good(self) -> bool:
        """Whether the bomb held its neighbour up no more than it may."""
        return self.times < self.most_times


def bomb_service(kinds: Sequence[str], log: Path, say: Callable[[str], None]) -> bool:
    """Bomb a real service; print the table, and return whether it held.

    Args:
        kinds: Names of bombs; none means all.
        log: Where the service's log goes.
        say: Gets a line of progress for each kind.

    Raises:
        BomberFailed: Bombs did not fall while a stream was measured.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        say("packing the model")
        store.make(folder)
        # Each token is an event of its own.
        service = Service(folder, log, {"STREAM_INTERVAL_MS": "0"})
        stack.callback(service.stop)
        say("beside ordinary requests")
        usual = longest_gap_beside(service.port, ORDINARY)
        gaps = {}
        for kind in kinds or BOMBS:
            say(kind)
            bomb = BOMBS[kind]
            beside = longest_gap_beside(service.port, bomb)
            if beside >= bomb.most_times * usual:  # what the machine does now counts too
                usual = max(usual, longest_gap_beside(service.port, ORDINARY))
            gaps[kind] = Gap(beside, usual, bomb.most_times)
    print(table(gaps))
    return all(gap.is_good for gap in gaps.values())


def longest_gap_beside(port: int, bomb: Bomb) -> float:
    """The least, of some streams, of the longest seconds between two of its events."""
    with bombing(port, bomb):
        return min(_longest_gap(port) for _ in range(STREAMS))


def _longest_gap(port: int) -> float:
    asked = {"prompt": "Once upon a time", "max_tokens": TOKENS, "ignore_eos": True, "seed": 1}
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(made):
        headers = {"content-type": "application/json"}
        made.request("POST", "/v1/completions", json.dumps({**asked, "stream": True}), headers)
        times = [time.perf_counter() for line in made.getresponse() if line.startswith(b"data: {")]
    return max(after - before for before, after in zip(times, times[1:], strict=False))


def table(gaps: dict[str, Gap]) -> str:
    """The gaps, for people."""
    lines = ["| bomb | longest gap, ms | usual | times | at most |", "|---|---|---|---|---|"]
    for kind, gap in gaps.items():
        lines.append(
            f"| {kind} | {1000 * gap.seconds:.1f} | {1000 * gap.usual:.1f} | {gap.times:.1f} | "
            f"{gap.most_times:g} |"
        )
    return "\n".join(lines)

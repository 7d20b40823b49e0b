"""One run of rising load: full load is measured first, then offered in parts and multiples."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from soak import store
from soak.overload.load import BROKEN, HUNG, REFUSED, SERVED, Reply, at_rate, in_turn
from soak.report import percentile
from soak.run import Say
from soak.service import DidNotStart, Service

# Offered, in times of full load.
LOADS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0)
# Who ask in turn while full load is measured: more than there are slots.
CLIENTS = 48
# Of each load's time: queues fill, and are not looked at.
FILLS = 0.25
# At the greatest load so much of what is served at full load still is.
KEPT = 0.95


@dataclass(frozen=True)
class Step:
    """What came of one load. Rates in requests a second, times in seconds.

    Attributes:
        load: Offered, in times of full load.
        offered: Requests a second that were sent.
        served: Replies a second that were whole.
        refused: Replies a second that were a refusal with a `Retry-After`.
        first: Median and 99th percentile of the time from a connection's begin to the first token
            of what was served.
        late: How late the sender was, 99th percentile: it shares the machine.
        bad: Replies that broke or hung, by reason.
    """

    load: float
    offered: float
    served: float
    refused: float
    first: tuple[float, float]
    late: float
    bad: Mapping[str, int]


@dataclass
class Overload:
    """What a run found. `full`: replies a second that clients in turn got."""

    full: float = 0.0
    steps: list[Step] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def kept(self) -> float:
        """Served at the greatest load, as a share of what is served at full load."""
        at_full = next(step.served for step in self.steps if step.load == 1.0)
        return self.steps[-1].served / at_full if at_full else 0.0

    @property
    def is_good(self) -> bool:
        """Whether nothing broke or was left behind, and overload cost no more than KEPT allows."""
        broke = any(step.bad for step in self.steps)
        return not broke and not self.left_behind and self.kept >= KEPT


def overload(*, minutes: float, seed: int, log: Path, say: Say) -> Overload:
    """Run one.

    Args:
        minutes: For all loads together.
        seed: Of the requests.
        log: Where the service's log goes.
        say: Tells how it goes.
    """
    found = Overload()
    seconds = minutes * 60 / (len(LOADS) + 1)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overload-")))
        say("packing the model")
        store.make(place / "store")
        service = Service(place / "store", log, {})
        stack.callback(service.stop)
        replies = uvloop.run(in_turn(service.port, clients=CLIENTS, seconds=seconds, seed=seed))
        served = [reply.end for reply in replies if reply.verdict == SERVED]
        if not served:
            raise DidNotStart(f"nothing was served at full load: {replies[0].why}")
        found.full = len(served) / max(served)
        say(f"full load: {found.full:.1f} requests a second")
        for number, load in enumerate(LOADS, 1):
            rate = load * found.full
            replies = uvloop.run(
                at_rate(service.port, rate=rate, seconds=seconds, seed=seed + number)
            )
            step = measured(replies, load, seconds)
            found.steps.append(step)
            say(
                f"{load:g} times: {step.served:.1f} served, {step.refused:.1f} refused a second; "
                f"first token after {step.first[0]:.2f} s, p99 {step.first[1]:.2f} s"
            )
        found.left_behind = service.stop()
    return found


def measured(replies: Sequence[Reply], load: float, seconds: float) -> Step:
    """What came of the replies to requests of so many seconds, once queues have filled."""
    begin = FILLS * seconds
    span = seconds - begin
    sent = [reply for reply in replies if begin <= reply.sent < seconds]
    ended = Counter(reply.verdict for reply in replies if begin <= reply.end < seconds)
    waits = [
        reply.first - reply.sent
        for reply in sent
        if reply.verdict == SERVED and reply.first is not None
    ]
    return Step(
        load=load,
        offered=len(sent) / span,
        served=ended[SERVED] / span,
        refused=ended[REFUSED] / span,
        first=(percentile(waits, 50), percentile(waits, 99)) if waits else (0.0, 0.0),
        late=percentile([reply.sent - reply.due for reply in sent], 99) if sent else 0.0,
        bad=Counter(reply.why for reply in replies if reply.verdict in (BROKEN, HUNG)),
    )

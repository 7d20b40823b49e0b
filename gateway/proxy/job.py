"""One prediction on its way to an answer, and what it is answered where it is ended early."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import Poison, Unavailable
from gateway.proxy.judging import RETRY_SECONDS
from gateway.proxy.prediction import Prediction
from gateway.proxy.replay import Lost, Replay
from gateway.proxy.reply import Reply
from gateway.proxy.streaming import ENDED_EARLY, Stream
from gateway.replicas.in_flight import Abort, InFlight
from gateway.web.exchange import ClientGone, Exchange
from gateway.web.record import Record
from handler.replies import sideband

# The error of a request that TorchServe had put back into its queue without its body.
LOST_REQUEST = "lost_request"


@dataclass(slots=True)
class Job:
    """One prediction on its way, whichever replicas are asked for it."""

    exchange: Exchange
    prediction: Prediction
    request: InFlight
    replay: Replay
    identity: sideband.Identity
    stream: Stream | None = None  # once its head was sent


def unless_lost(reply: Reply, record: Record) -> Reply:
    """Return a reply.

    Raises:
        Lost: It is an error that another try may not meet.
    """
    if record.error == LOST_REQUEST:
        record.failed = record.error = None
        raise Lost
    return reply


async def broken_off(job: Job, cause: Abort) -> Exception:
    """Return what a request that was ended early is answered; of a stream its end is sent here."""
    record = job.exchange.record
    record.aborted = cause.value
    if job.stream is not None:
        await job.stream.break_off(cause)
        return ClientGone()
    if cause is Abort.CLIENT_GONE:
        return ClientGone()
    if cause is Abort.POISON:
        return Poison(ENDED_EARLY[cause])
    return Unavailable(ENDED_EARLY[cause], code=cause.value, retry_after=RETRY_SECONDS)

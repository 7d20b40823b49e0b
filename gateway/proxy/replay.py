"""Everything needed to send a request again whose worker was lost, without losing any of it.

The same prompt, options and seed give the same tokens: a whole reply is asked for again, a stream
is taken up behind the last event that was sent (`handler/requests/resume.py`). A stream in Hugging
Face's format, whose last event holds the whole text, is asked for from its start, and what was sent
is compared and left out.
"""

from __future__ import annotations

import json
import time
from typing import Any

from gateway.proxy.chat import CHATS
from gateway.proxy.prediction import COMPLETIONS, Prediction
from gateway.replicas.in_flight import Abort
from handler.replies import sideband

# A request that lost so many workers is asked for no more, whatever they were lost by.
MOST_LOSSES = 8
# A request that was with so many workers when they crashed, or stood still, may be why: from then
# on it is asked for with nothing beside it.
SUSPECT_LOSSES = 2
# A request whose workers stood still so often is given up.
MOST_STALLS = 2
# What is kept of one stream; beyond, it can no longer be taken up.
MOST_KEPT_BYTES = 4 << 20
# The death of a worker, or of TorchServe, is seen by the rest of the gateway within this time; who
# is sent again sooner would meet the same dead replica.
LOSS_SEEN_SECONDS = 0.25
# What a worker can be lost by without the request's fault.
REPEATABLE = frozenset({Abort.WORKER_LOST, Abort.STALLED, Abort.REMOVED})


class Lost(Exception):
    """A request lost its worker, or was refused by one that was not to be asked yet.

    Attributes:
        cause: How.
        is_loss: Whether a worker ended, and not only refused.
    """

    def __init__(self, cause: Abort = Abort.WORKER_LOST, *, is_loss: bool = True) -> None:
        super().__init__(cause.value)
        self.cause = cause
        self.is_loss = is_loss


class Replay:
    """What one request has gone through, and how it is asked for again."""

    def __init__(self, prediction: Prediction, seconds: float) -> None:
        """Begin.

        Args:
            prediction: The request.
            seconds: How long after its last loss it is asked for again.
        """
        self._prediction = prediction
        self._seconds = seconds
        self._losses = self._crashes = self._stalls = 0
        self._is_poison = False
        self._give_up_at = 0.0
        self._frames: list[bytes] = []
        # Of a stream that cannot be gone on with within: the events that were sent.
        self._events = bytearray()
        self._kept_bytes = 0
        self._digest: str | None = None
        self._is_stream = False
        self._begins_anew = prediction.path not in (COMPLETIONS, CHATS)

    @property
    def pause(self) -> float:
        """Seconds to wait before it is sent."""
        return LOSS_SEEN_SECONDS if self._give_up_at else 0.0

    @property
    def patience(self) -> float | None:
        """Seconds for which a worker is waited for; None before a loss."""
        return max(0.0, self._give_up_at - time.monotonic()) if self._give_up_at else None

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what its workers end by."""
        return self._crashes + self._stalls >= SUSPECT_LOSSES

    def begin_stream(self, card: dict[str, Any]) -> None:
        """Note that its events are sent from now on, from a model that says `card` of itself."""
        self._is_stream = True
        is_same_everywhere = card.get("engine") != "torch"
        self._digest = card.get("content_sha256") if is_same_everywhere else None

    def keep(self, frames: list[bytes], events: bytes) -> None:
        """Keep what it takes to ask for what follows these events, which were sent."""
        if self._kept_bytes > MOST_KEPT_BYTES:
            return
        if self._begins_anew:
            self._frames = self._frames or frames[:1]
            self._events += events
            self._kept_bytes += len(events)
        else:
            self._frames += frames
            self._kept_bytes += sum(map(len, frames))

    @property
    def said(self) -> bytes:
        """What the next worker says again of a stream, and the client has already."""
        return bytes(self._events)

    def lose(self, lost: Lost, *, crashed: bool = False) -> None:
        """Count a loss, or a refusal; since the last loss its time runs.

        Args:
            lost: How.
            crashed: Whether the worker ended by itself, of what it computed. Kills, stops and the
                end of Java are nobody's fault.
        """
        if lost.is_loss or not self._give_up_at:
            self._give_up_at = time.monotonic() + self._seconds
        self._losses += lost.is_loss
        self._is_poison = self._is_poison or (crashed and self.is_suspect)
        self._crashes += crashed
        self._stalls += lost.cause is Abort.STALLED

    def verdict(self, lost: Lost) -> Abort:
        """Why it is given up after its last loss."""
        return Abort.POISON if self._is_poison else lost.cause

    def may_go_on(self, card: dict[str, Any]) -> bool:
        """Whether it can be asked for again, from a model that says `card` of itself."""
        if self._is_poison or self._stalls >= MOST_STALLS or self._losses > MOST_LOSSES:
            return False
        if self.patience == 0.0:
            return False
        if not self._is_stream:
            return True
        return (
            self._digest is not None
            and card.get("content_sha256") == self._digest
            and self._kept_bytes <= MOST_KEPT_BYTES
            and bool(self._frames)  # else it was lost between its head and its first event
            and b'"id":' in self._frames[0]
        )

    @property
    def ended_choices(self) -> list[int]:
        """Choices whose end was sent, as far as frames were kept."""
        frames = [json.loads(frame) for frame in self._frames if b'"finish":' in frame]
        return [frame["choice"] for frame in frames]

    @property
    def has_all(self) -> bool:
        """Whether nothing but the end of a stream is missing: its usage was sent."""
        return (
            not self._begins_anew and bool(self._frames) and "usage" in json.loads(self._frames[-1])
        )

    def body(self) -> bytes:
        """The body to ask with: of a stream that has begun, for the rest."""
        if not self._is_stream:
            return self._prediction.body
        body = json.loads(self._prediction.body)
        if self._begins_anew:  # in Hugging Face's format
            body["parameters"]["seed"] = json.loads(self._frames[0])["seed"]
            return _to_json(body)
        body[sideband.RESUME] = self._resume()
        return _to_json(body)

    def _resume(self) -> dict[str, Any]:
        frames = [json.loads(frame) for frame in self._frames]
        choices: dict[int, dict[str, Any]] = {}
        for frame in frames:
            if "choice" in frame:
                choice = choices.setdefault(frame["choice"], {"tokens": []})
                tokens = choice["tokens"] + frame["tokens"]
                choice.update(frame, tokens=tokens)
        first = frames[0]
        return {
            "id": first["id"],
            "created": first["created"],
            "seed": first["seed"],
            "choices": [
                {name: choice[name] for name in RESUMED if name in choice}
                for choice in choices.values()
            ],
        }


def _to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# Fields of a choice's frames that tell how far it is.
RESUMED = ("choice", "tokens", "shown", "finish", "cached")

"""The engine's thread: takes sequences in, runs step after step, hands outputs out.

It is at most one step ahead of whoever collects: nobody collects, nothing is computed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from handler.engine.kv_cache import KVCache
from handler.engine.model import Logits, Model
from handler.engine.scheduler import Scheduler
from handler.engine.sequence import Output, Sequence, Status
from handler.engine.settings import EngineSettings
from handler.errors import QueueFull

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0  # a thread that waits looks up this often, so that none can wait for ever
STEP_FAILED = "The engine failed in this step and has started again; please send the request again"
SEQUENCE_FAILED = "This text could not be continued because of an error in the engine"


class Engine:
    """Writes many texts at once. All methods may be called from any thread.

    Raises:
        ModelError: There is not memory enough for one text.
    """

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        self._model = model
        self._settings = settings
        slab = model.slab
        max_tokens = settings.cache_tokens(slab.bytes_per_token, slab.shape[2])
        self._grain = 1 if model.is_exact else 2  # see `OnnxModel.prefill`
        cache = KVCache(slab, max_tokens=max_tokens, grain=self._grain)
        self._scheduler = Scheduler(cache, keeps_decoded=model.is_exact)
        self._condition = threading.Condition()
        self._submitted: deque[Sequence] = deque()
        self._cancelled: set[str] = set()
        self._ready: list[Output] = []
        self._is_ahead = False
        self._open: Counter[str] = Counter()  # texts that have not ended, by request
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; live sequences are dropped."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._thread.join(timeout=10 * WAIT_SECONDS)

    def submit(self, sequences: list[Sequence]) -> None:
        """Queue the sequences of one request.

        Raises:
            QueueFull: They do not all fit into slots and queue.
        """
        with self._condition:
            waiting = self._open.total()
            if waiting + len(sequences) > self._settings.slots + self._settings.max_waiting:
                raise QueueFull(
                    f"{waiting} texts are being written or waiting; the server takes "
                    f"{self._settings.slots + self._settings.max_waiting}. Try again shortly.",
                    code="queue_full",
                )
            self._submitted.extend(sequences)
            self._open.update(sequence.request_id for sequence in sequences)
            self._condition.notify_all()

    def cancel(self, request_ids: Iterable[str]) -> None:
        """Drop the sequences of requests that nobody waits for any more, and their outputs."""
        with self._condition:
            for request_id in request_ids:
                self._cancelled.add(request_id)
                self._open.pop(request_id, None)
            self._ready = [o for o in self._ready if o.request_id not in self._cancelled]
            self._condition.notify_all()

    def collect(self, timeout: float = WAIT_SECONDS) -> list[Output]:
        """Take what the last step gave; waits for it up to `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_ahead, timeout)
            outputs, self._ready = self._ready, []
            self._is_ahead = False
            self._condition.notify_all()
        return outputs

    def _run(self) -> None:
        while True:
            outputs: list[Output] = []
            try:
                if not self._take_in():
                    return
                self._step(outputs)
            except Exception:
                logger.exception("a step failed; the engine starts again")
                # What ended before the failure has its output already.
                live = [s for s in self._scheduler.clear() if s.status is not Status.FINISHED]
                outputs += [sequence.fail(STEP_FAILED) for sequence in live]
            with self._condition:
                for output in outputs:
                    if output.request_id not in self._cancelled:
                        self._ready.append(output)
                        self._open[output.request_id] -= output.is_last
                self._open = +self._open  # without those of whom nothing is left
                self._is_ahead = True
                self._condition.notify_all()

    def _take_in(self) -> bool:
        """Wait until there is a step to run; apply what was submitted and cancelled."""
        scheduler = self._scheduler
        with self._condition:
            while not self._stopping:
                gone = [s for s in scheduler if s.request_id in self._cancelled]
                for sequence in gone:
                    scheduler.remove(sequence)
                while self._submitted:
                    sequence = self._submitted.popleft()
                    if sequence.request_id not in self._cancelled:
                        scheduler.add(sequence)
                self._cancelled.clear()
                if scheduler.num_live and not self._is_ahead:
                    return True
                self._condition.wait(WAIT_SECONDS)
        return False

    def _step(self, outputs: list[Output]) -> None:
        """Compute one piece of prompts, and one token for each running sequence.

        Adds what came of it to `outputs` as it comes, so that a failure on the way loses nothing.
        """
        self._end_overdue(outputs)
        running = list(self._scheduler.running)
        self._scheduler.admit()
        self._prefill_piece(outputs)
        # Those whose prompt was just computed have their first token already; they are at the end.
        if running:
            tokens = np.fromiter((s.last_token for s in running), np.int64, len(running))
            lengths = np.fromiter((s.length for s in running), np.int64, len(running))
            logits = self._model.decode(tokens, lengths)
            for sequence, row in zip(running, logits, strict=True):
                self._scheduler.cache.advance(sequence.slot, sequence.length + 1)
                outputs.append(
                    self._guard(sequence, partial(sequence.append_from, row, self._model.sampler))
                )
        for sequence in [s for s in reversed(list(self._scheduler)) if s.status is Status.FINISHED]:
            self._scheduler.remove(sequence)

    def _end_overdue(self, outputs: list[Output]) -> None:
        now = time.monotonic()
        for sequence in [s for s in self._scheduler if s.deadline <= now]:
            outputs.append(sequence.end("length"))
            self._scheduler.remove(sequence)

    def _prefill_piece(self, outputs: list[Output]) -> None:
        """Compute up to `prefill_piece` tokens of prompts, in the order in which they came."""
        budget = self._settings.prefill_piece
        while self._scheduler.prefilling and budget >= 2:
            sequence = self._scheduler.prefilling[0]
            self._scheduler.catch_up(sequence)
            start, total = sequence.num_prefilled, len(sequence.prompt)
            # A position that is scored needs the head besides, which takes about as long again, and
            # so does the search for the likeliest tokens.
            is_scored, is_ranked = sequence.options.prompt_logprobs, sequence.options.logprobs
            cost = (4 if is_ranked else 2) if is_scored else 1
            count = min(total - start, max(2, budget // cost))
            if count < total - start:
                count -= count % self._grain
            budget -= cost * count
            try:
                logits = self._compute(sequence, start, count)
            except Exception:
                logger.exception("a prompt could not be computed")
                outputs.append(sequence.fail(SEQUENCE_FAILED))
                self._scheduler.remove(sequence)
                continue
            if sequence.num_prefilled == total:
                outputs += self._first_tokens(sequence, logits)
                self._scheduler.admit()

    def _compute(self, sequence: Sequence, start: int, count: int) -> Logits:
        wants_all = sequence.options.prompt_logprobs
        end = start + count
        num_logits = count if wants_all else int(end == len(sequence.prompt))
        piece = sequence.prompt[start:end]
        logits = self._model.prefill(sequence.slot, piece, start, num_logits)
        if wants_all:
            top = sequence.options.logprobs or 0
            following = sequence.prompt[start + 1 : end + 1]
            for row, token in zip(logits, following, strict=False):
                sequence.prompt_logprobs.append(self._model.sampler.logprob(row, int(token), top))
        sequence.num_prefilled = end
        self._scheduler.cache.advance(sequence.slot, end, sequence.prompt[:end])
        return logits[-1:]

    def _first_tokens(self, sequence: Sequence, logits: Logits) -> list[Output]:
        """The first token of a prompt just computed, and of those that wait with the same one."""
        self._scheduler.start_running(sequence)
        started = [sequence, *self._scheduler.fork(sequence)]
        return [self._guard(s, partial(self._first_token, s, logits[0])) for s in started]

    def _first_token(self, sequence: Sequence, row: Logits) -> Output:
        output = (
            sequence.append_from(row, self._model.sampler)
            if sequence.options.max_tokens
            else sequence.end("length")
        )
        output.queue_seconds = sequence.admitted_at - sequence.submitted_at
        if sequence.options.prompt_logprobs:
            output.prompt_logprobs = sequence.prompt_logprobs
        return output

    @staticmethod
    def _guard(sequence: Sequence, action: Callable[[], Output]) -> Output:
        """Let an error in one sequence end that sequence and no other."""
        try:
            return action()
        except Exception:
            logger.exception("a sequence failed")
            return sequence.fail(SEQUENCE_FAILED)

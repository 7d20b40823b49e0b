"""The engine's thread: takes sequences in, runs step after step, hands outputs out.

It runs ahead of whoever collects for a bounded time: nobody collects, nothing more is computed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable

from handler.engine.errors import QueueFull
from handler.engine.kv_cache import KVCache
from handler.engine.model import Model
from handler.engine.output import Output
from handler.engine.scheduler import Scheduler
from handler.engine.sequence import Sequence
from handler.engine.settings import EngineSettings
from handler.engine.shared_bound import LOOK_SECONDS, SharedBound
from handler.engine.step import Deadline
from handler.engine.step_runner import StepRunner

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0  # a thread that waits looks up this often, so that none can wait for ever
STEP_FAILED = "The engine failed in this step and has started again; please send the request again"


class Engine:
    """Generates many sequences at once. All methods may be called from any thread.

    Raises:
        ModelError: There is not memory enough for one sequence.
    """

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        self._settings = settings
        buffer = model.buffer
        max_tokens = settings.cache_tokens(buffer.bytes_per_token, buffer.max_length)
        shared = SharedBound.of_service(buffer.bytes_per_token, buffer.max_length)
        self._look_seconds = WAIT_SECONDS if shared is None else LOOK_SECONDS
        self._scheduler = Scheduler(
            KVCache(buffer, max_tokens=max_tokens, shared=shared),
            settings.max_num_batched_tokens,
            is_exact=model.is_exact,
        )
        self._interval = settings.stream_interval_ms / 1000
        self._until = Deadline()  # of the steps that run: set with the lock held
        self._runner = StepRunner(
            model, self._scheduler, self._until, runs_ahead=self._interval > 0
        )
        lock = threading.Lock()
        self._work = threading.Condition(lock)  # for the engine's thread
        self._results = threading.Condition(lock)  # for whoever collects
        self._submitted: deque[Sequence] = deque()
        # Texts to be embedded beyond those that a request has at once, by request.
        self._held_back: dict[str, deque[Sequence]] = {}
        self._cancelled: set[str] = set()
        self._ready: list[Output] = []
        self._has_urgent = False
        # When the first step ended of which nobody has collected anything.
        self._uncollected_since: float | None = None
        self._collected_at = 0.0
        self._is_awaited = False  # whether somebody waits in `collect`
        self._open: Counter[str] = Counter()  # sequences that have not ended, by request
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; sequences that have not ended are dropped."""
        with self._work:
            self._stopping = True
            self._call()
        self._thread.join(timeout=10 * WAIT_SECONDS)

    @property
    def embedded_at_once(self) -> int:
        """Texts to be embedded that one request has in slots and queue; its others come after."""
        return max(1, self._settings.slots // 2)

    @property
    def cache_usage(self) -> float:
        """Share of the cache's positions that running sequences hold or are promised, 0 to 1."""
        return self._scheduler.cache.usage

    def submit(self, sequences: list[Sequence]) -> None:
        """Queue the sequences of one request.

        Raises:
            QueueFull: They do not all fit into slots and queue.
        """
        held_back: list[Sequence] = []
        if sequences and sequences[0].options.pooling:
            most = self.embedded_at_once
            sequences, held_back = sequences[:most], sequences[most:]
        with self._work:
            waiting = sum(self._open.values())
            if waiting + len(sequences) > self._settings.slots + self._settings.max_waiting:
                raise QueueFull(
                    f"{waiting} completions are being generated or waiting; the server takes "
                    f"{self._settings.slots + self._settings.max_waiting}. Try again shortly."
                )
            self._submitted.extend(sequences)
            self._open.update(sequence.request_id for sequence in sequences)
            if held_back:
                self._held_back[held_back[0].request_id] = deque(held_back)
            self._call()

    def cancel(self, request_ids: Iterable[str]) -> None:
        """Drop the sequences of requests that nobody waits for any more, and their outputs."""
        with self._work:
            for request_id in request_ids:
                self._cancelled.add(request_id)
                self._open.pop(request_id, None)
                self._held_back.pop(request_id, None)
            self._ready = [o for o in self._ready if o.request_id not in self._cancelled]
            self._call()

    def _call(self) -> None:
        """Let the engine's thread look up, after the step that runs if there is one."""
        self._until.set(0.0)
        self._work.notify()

    def collect(self, timeout: float = WAIT_SECONDS) -> list[Output]:
        """Take what steps gave since the last call; waits for something up to `timeout` seconds.

        First tokens of streams, ends and errors are had at once, the rest when the stream interval
        since the last call is over. Empty where steps gave nothing that can be reported yet.
        """
        latest = time.monotonic() + timeout
        with self._results:
            self._is_awaited = True
            self._until.advance(self._collected_at + self._interval)
            while (seconds := self._seconds_to_wait(latest)) > 0:
                self._results.wait(seconds)
            outputs, self._ready = self._ready, []
            self._has_urgent = False
            self._uncollected_since = None
            self._is_awaited = False
            self._collected_at = time.monotonic()
            self._work.notify()
        return outputs

    def _seconds_to_wait(self, latest: float) -> float:
        if self._has_urgent:
            return 0.0
        due = latest
        if self._uncollected_since is not None:
            due = min(latest, self._collected_at + self._interval)
        return due - time.monotonic()

    def _may_run_ahead(self) -> bool:
        since = self._uncollected_since
        return since is None or time.monotonic() - since < self._interval

    def _run_until(self) -> float:
        """When who collects wants to have what steps gave, or they have run far enough ahead."""
        since = self._uncollected_since
        until = (time.monotonic() if since is None else since) + self._interval
        if self._is_awaited:
            until = min(until, self._collected_at + self._interval)
        return min((until, *(sequence.deadline for sequence in self._scheduler.running)))

    def _run(self) -> None:
        while True:
            outputs: list[Output] = []
            try:
                if not self._take_in():
                    return
                self._runner.run(outputs)
            except Exception:
                logger.exception("a step failed; the engine starts again")
                # What ended before the failure has its output already.
                lost = [s for s in self._scheduler.clear() if not s.is_finished]
                outputs += [sequence.fail(STEP_FAILED) for sequence in lost]
            with self._results:
                for output in outputs:
                    if output.request_id not in self._cancelled:
                        self._ready.append(output)
                        self._has_urgent |= output.is_urgent
                        self._open[output.request_id] -= output.is_last
                        if output.is_last:
                            self._let_in_another(output.request_id)
                self._open = +self._open  # without those of whom nothing is left
                is_first = self._uncollected_since is None
                if is_first:
                    self._uncollected_since = time.monotonic()
                if is_first or self._has_urgent:
                    self._results.notify()

    def _let_in_another(self, request_id: str) -> None:
        """Take in the next text of a request that had more than it may have at once."""
        held_back = self._held_back.get(request_id)
        if held_back:
            self._submitted.append(held_back.popleft())
            self._open[request_id] += 1
            if not held_back:
                del self._held_back[request_id]

    def _take_in(self) -> bool:
        """Wait until there is a step to run; apply what was submitted and cancelled."""
        scheduler = self._scheduler
        with self._work:
            while not self._stopping:
                if self._cancelled:
                    for sequence in [s for s in scheduler if s.request_id in self._cancelled]:
                        scheduler.remove(sequence)
                while self._submitted:
                    sequence = self._submitted.popleft()
                    if sequence.request_id not in self._cancelled:
                        scheduler.add(sequence)
                self._cancelled.clear()
                scheduler.cache.give_back(is_wanted=bool(scheduler.waiting))
                if len(scheduler) and self._may_run_ahead():
                    self._until.set(self._run_until())
                    return True
                self._work.wait(self._look_seconds)
        return False

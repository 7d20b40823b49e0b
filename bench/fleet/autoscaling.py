"""Autoscalers: how many instances each platform wants, by its documented rules."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Seen:
    """What an autoscaler sees at one moment, averaged over the time since it last looked.

    busy: Instances' worth of processors in use. inside, waiting: Requests. ready, starting: Now.
    """

    now: float
    busy: float
    inside: float
    waiting: float
    ready: int
    starting: int


class Autoscaler(Protocol):
    """Decides how many instances there should be."""

    every: float

    def wanted(self, seen: Seen) -> int:
        """Return how many there should be, those that are starting among them."""


@dataclass
class Fixed:
    """As many as there are."""

    count: int
    every: float = 60.0

    def wanted(self, seen: Seen) -> int:
        """Return how many there should be."""
        return self.count


def _over(window: deque[Seen], seen: Seen, seconds: float) -> deque[Seen]:
    window.append(seen)
    while window and window[0].now <= seen.now - seconds:
        window.popleft()
    return window


@dataclass
class CloudRun:
    """Cloud Run's, by https://docs.cloud.google.com/run/docs/about-instance-autoscaling .

    Of processors in use and of requests inside, both averaged over a minute, each is divided by its
    target share (60 % by default, 10 to 95 can be set); the larger counts. An instance that nobody
    needs stays for up to 15 minutes. Where all instances are at their concurrency, one is started
    for those that wait ("on demand").
    """

    concurrency: int = 112
    processor_target: float = 0.6
    concurrency_target: float = 0.6
    least: int = 0
    most: int = 100
    every: float = 5.0
    idle: float = 900.0
    _window: deque[Seen] = field(default_factory=deque)
    _peaks: deque[tuple[float, int]] = field(default_factory=deque)

    def wanted(self, seen: Seen) -> int:
        """Return how many there should be."""
        window = _over(self._window, seen, 60.0)
        busy = sum(each.busy for each in window) / len(window)
        inside = sum(each.inside for each in window) / len(window)
        by_processor = math.ceil(busy / self.processor_target - 1e-9)
        by_concurrency = math.ceil(inside / (self.concurrency * self.concurrency_target) - 1e-9)
        on_demand = math.ceil(seen.inside / self.concurrency - 1e-9)
        needed = max(by_processor, by_concurrency, on_demand)
        self._peaks.append((seen.now, needed))
        while self._peaks[0][0] < seen.now - self.idle:
            self._peaks.popleft()
        # Taken away are those that were idle so long: the highest need since counts.
        kept = max(needed for _, needed in self._peaks)
        return min(self.most, max(self.least, kept))


@dataclass
class PodAutoscaler:
    """Kubernetes', by https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ .

    ceil(pods * metric / target) every 15 s, nothing within a tenth of the target; up by at most
    `doubling` in 15 s, down to the highest wish of five minutes, by one pod a minute where `slow`
    (deploy/kubernetes/components/hpa).
    """

    target: float = 0.7
    least: int = 2
    most: int = 10
    every: float = 15.0
    tolerance: float = 0.1
    stabilization: float = 300.0
    slow: bool = True
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _last_down: float = -60.0

    def wanted(self, seen: Seen) -> int:
        """Return how many there should be."""
        pods = seen.ready + seen.starting
        return self._follow(seen, self._wish(seen, pods), pods)

    def _wish(self, seen: Seen, pods: int) -> int:
        return self._by(seen.busy / max(1, seen.ready) / self.target, max(1, seen.ready), pods)

    def _by(self, ratio: float, counted: int, pods: int) -> int:
        return pods if abs(ratio - 1) <= self.tolerance else math.ceil(counted * ratio - 1e-9)

    def _follow(self, seen: Seen, wish: int, pods: int) -> int:
        wish = min(self.most, max(self.least, wish))
        self._wishes.append((seen.now, wish))
        while self._wishes[0][0] < seen.now - self.stabilization:
            self._wishes.popleft()
        if wish >= pods:
            # 100 % or four pods in 15 s, whichever is more.
            return min(wish, max(2 * pods, pods + 4))
        wish = max(each for _, each in self._wishes)
        if self.slow and wish < pods:
            if seen.now - self._last_down < 60.0:
                return pods
            self._last_down = seen.now
            return pods - 1
        return min(wish, pods)


@dataclass
class Queue(PodAutoscaler):
    """KEDA's, by https://keda.sh/docs/latest/reference/scaledobject-spec .

    What deploy/kubernetes/components/keda asks for: a pod for every 8 sequences that wait, or 8
    that are written; the pod autoscaler follows that by its own rules.
    """

    waiting_target: float = 8.0
    running_target: float = 8.0
    least: int = 1
    slow: bool = False

    def _wish(self, seen: Seen, pods: int) -> int:
        counted = max(1, pods)
        wishes = (
            (seen.waiting / self.waiting_target),
            ((seen.inside - seen.waiting) / self.running_target),
        )
        return max(self._by(wish / counted, counted, pods) for wish in wishes)

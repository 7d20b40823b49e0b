"""Runs the same work on every system in turn, round after round.

A machine that grows slow for a while is then slow for all of them alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TypeVar

from bench.process import DriverProcess

Result = TypeVar("Result")


def interleaved(
    drivers: Mapping[str, DriverProcess],
    rounds: int,
    work: Callable[[DriverProcess], Result],
    failed: Callable[[str, Exception], None],
    warm_up: Callable[[DriverProcess], object] | None = None,
) -> dict[str, list[Result]]:
    """Return each system's results; one that fails is reported and left out of later rounds."""
    results: dict[str, list[Result]] = defaultdict(list)
    alive = dict(drivers)
    for number in range(-1 if warm_up else 0, rounds):
        for system, driver in list(alive.items()):
            try:
                if number < 0 and warm_up is not None:
                    warm_up(driver)
                else:
                    results[system].append(work(driver))
            except RuntimeError as error:
                failed(system, error)
                del alive[system]
    return {system: results[system] for system in alive}

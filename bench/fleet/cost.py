"""The cost of instances by docs/cost.md: two processors and 2 GiB on Cloud Run, US dollars."""

from __future__ import annotations

from bench.fleet.simulation import Outcome

# A second: while a request is in it, while none is, and by the instance (docs/cost.md).
ACTIVE = 0.000053
IDLE = 0.00001
BY_INSTANCE = 0.00004
REQUEST = 0.40 / 1_000_000


def by_request(outcome: Outcome) -> float:
    """Return the bill of a run where instances are paid by the request."""
    idle = outcome.instance_seconds - outcome.busy_seconds
    return outcome.busy_seconds * ACTIVE + idle * IDLE + outcome.arrived * REQUEST


def by_instance(outcome: Outcome) -> float:
    """Return it where they are paid for every second."""
    return outcome.instance_seconds * BY_INSTANCE


def of_million_tokens(bill: float, outcome: Outcome) -> float:
    """Return what a million written tokens cost."""
    return bill / outcome.tokens * 1e6 if outcome.tokens else float("inf")

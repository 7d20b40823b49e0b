"""Chooses the instance for a request."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from bench.fleet.instance import Instance, Request

Choose = Callable[[Sequence[Instance], Request], Instance]
# A session leaves the instance that knows its text where that has so many more than another:
# what Ray Serve calls imbalanced_threshold (10 there).
IMBALANCE = 10


def by_chance(draw: random.Random) -> Choose:
    """Any of them: DNS, or a balancer that counts nothing."""
    return lambda instances, _: instances[draw.randrange(len(instances))]


def in_turn() -> Choose:
    """One after the other: a Kubernetes Service's and nginx's default, roughly."""
    count = 0

    def choose(instances: Sequence[Instance], _: Request) -> Instance:
        nonlocal count
        count += 1
        return instances[count % len(instances)]

    return choose


def least_loaded(draw: random.Random) -> Choose:
    """The one with the fewest requests (nginx's least_conn); of many, the better of two."""

    def choose(instances: Sequence[Instance], _: Request) -> Instance:
        if len(instances) <= 16:
            fewest = min(each.load for each in instances)
            return draw.choice([each for each in instances if each.load == fewest])
        one, other = (instances[draw.randrange(len(instances))] for _ in range(2))
        return one if one.load <= other.load else other

    return choose


def by_prefix(draw: random.Random) -> Choose:
    """The one that knows the session's text, unless it has much more to do than another."""
    at: dict[int, Instance] = {}
    otherwise = least_loaded(draw)

    def choose(instances: Sequence[Instance], request: Request) -> Instance:
        other = otherwise(instances, request)
        known = at.get(request.session)
        if known is not None and known.is_open and known.load - other.load < IMBALANCE:
            return known
        if request.session >= 0:
            at[request.session] = other
        return other

    return choose


ROUTINGS: dict[str, Callable[[random.Random], Choose]] = {
    "chance": by_chance,
    "turn": lambda _: in_turn(),
    "least": least_loaded,
    "prefix": by_prefix,
}

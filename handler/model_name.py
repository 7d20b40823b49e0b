"""What a model may be called: one judge for packaging, the gateway and its management."""

from __future__ import annotations

import re

LONGEST = 64
# The gateway registers one archive as gpt2, gpt2--2, ...: one model to clients.
REPLICA_MARK = "--"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,63}")


def find_fault(name: str) -> str | None:
    """Return what is wrong with a model's name, as the end of a sentence; None if nothing is.

    >>> find_fault("a--b")
    "must not hold '--', by which replicas of one model are told apart"
    """
    if NAME.fullmatch(name):
        return None
    if len(name) > LONGEST:
        return f"may have {LONGEST} characters, and has {len(name)}"
    if REPLICA_MARK in name:
        return f"must not hold '{REPLICA_MARK}', by which replicas of one model are told apart"
    return "may hold letters, digits, `.`, `_` and single `-`, a letter or digit first"

"""The rules for model names: one definition for packaging, the gateway and its management."""

from __future__ import annotations

import re

LONGEST = 64
# The gateway registers one archive as gpt2, gpt2--2, ...: one model to clients.
REPLICA_MARK = "--"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,63}")


def find_fault(name: str) -> str | None:
    """Return what is wrong with a model's name, as the end of a sentence; None if nothing is.

    >>> find_fault("a--b")
    "must not contain '--', which marks the replicas of a model"
    """
    if NAME.fullmatch(name):
        return None
    if len(name) > LONGEST:
        return f"may have at most {LONGEST} characters, and has {len(name)}"
    if REPLICA_MARK in name:
        return f"must not contain '{REPLICA_MARK}', which marks the replicas of a model"
    return "may contain letters, digits, `.`, `_` and single `-`, and begins with a letter or digit"

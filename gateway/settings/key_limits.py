"""The limits of keys: share, priority and token budgets, parsed from KEY_LIMITS.

`alice:weight=4,tokens_per_day=1000000;bob:priority=5`. Needs nothing but Python.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

HOW = "KEY_LIMITS must be like `alice:weight=4,tokens_per_minute=20000;bob:priority=5`"
# Beyond these a share or a priority means nothing more.
MOST_WEIGHT = 1000
MOST_PRIORITY = 1000


class KeyLimitFault(Exception):
    """A value that is not a list of limits; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of one caller.

    Attributes:
        weight: Its share of the slots while others wait, beside theirs (1 to 1,000).
        priority: Lower ones come first; a request may ask for a higher number, never a lower one.
        tokens_per_minute: Tokens of prompts and completions; 0 is no limit.
        tokens_per_day: The same for a day.
    """

    weight: int = 1
    priority: int = 0
    tokens_per_minute: int = 0
    tokens_per_day: int = 0


def parse_key_limits(text: str) -> dict[str, KeyLimits]:
    """Take KEY_LIMITS apart: the limits of each key that it names.

    Raises:
        KeyLimitFault: It cannot be read, or a value is out of bounds.
    """
    found: dict[str, KeyLimits] = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, values = entry.partition(":")
        name = name.strip()
        if not colon or not name:
            raise KeyLimitFault(f"{HOW}, not {entry!r}")
        if name in found:
            raise KeyLimitFault(f"KEY_LIMITS: `{name}` occurs twice")
        found[name] = _limits(name, values)
    return found


def _limits(name: str, text: str) -> KeyLimits:
    known = {each.name for each in fields(KeyLimits)}
    values: dict[str, int] = {}
    for part in text.split(","):
        field, equals, value = (each.strip() for each in part.partition("="))
        if not equals or field not in known:
            raise KeyLimitFault(f"KEY_LIMITS: `{name}` takes {', '.join(sorted(known))}")
        try:
            values[field] = int(value)
        except ValueError:
            raise KeyLimitFault(f"KEY_LIMITS: {field} of `{name}` must be a whole number") from None
    limits = KeyLimits(**values)
    if not 1 <= limits.weight <= MOST_WEIGHT:
        raise KeyLimitFault(f"KEY_LIMITS: the weight of `{name}` must be 1 to {MOST_WEIGHT}")
    if abs(limits.priority) > MOST_PRIORITY:
        raise KeyLimitFault(
            f"KEY_LIMITS: the priority of `{name}` must be from -{MOST_PRIORITY} to {MOST_PRIORITY}"
        )
    if min(limits.tokens_per_minute, limits.tokens_per_day) < 0:
        raise KeyLimitFault(f"KEY_LIMITS: the tokens of `{name}` must be at least 0")
    return limits

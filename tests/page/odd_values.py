"""Documents that are nearly right: one with some of its values replaced, taken away or doubled."""

from __future__ import annotations

import copy
import random
from typing import Any

ODD: list[Any] = [
    None,
    True,
    -1,
    0.5,
    1e308,
    2**53,
    "",
    "NaN",
    "\ud83d",
    "x" * 5000,
    [],
    [None],
    {},
    {"a": {}},
]


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Return every container with each of its keys."""
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    found = [(node, key) for key, _ in inner]
    values = list(node.values()) if isinstance(node, dict) else node
    for value in values:
        if isinstance(value, dict | list):
            found += _places(value)
    return found


def mutants(document: dict[str, Any], count: int, seed: int) -> list[dict[str, Any]]:
    """Make so many documents, each with one to three odd places."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        mutant = copy.deepcopy(document)
        for _ in range(draw.randint(1, 3)):
            node, key = draw.choice(_places(mutant))
            if isinstance(node, list) and draw.random() < 0.3:
                node.insert(key, copy.deepcopy(node[key]))
            elif isinstance(node, dict) and draw.random() < 0.3:
                del node[key]
            else:
                node[key] = copy.deepcopy(draw.choice(ODD))
            if not _places(mutant):
                break
        made.append(mutant)
    return made

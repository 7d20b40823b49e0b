"""Interpolated modified Kneser-Ney n-gram models over integers, on sorted arrays.

The reference a neural model has to beat. Formulas: Chen and Goodman, "An Empirical Study of
Smoothing Techniques for Language Modeling" (1998). An n-gram is one unsigned 64-bit key, its
newest member in the lowest bits.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Order:
    """All n-grams of one length: what they are discounted to, what their contexts leave over."""

    keys: Keys
    discounted: Floats
    contexts: Keys
    totals: Floats
    left_over: Floats


class KneserNey:
    """P(next | up to ``order`` - 1 before it), for ids below 2 ** (64 // order)."""

    def __init__(self, ids: npt.NDArray[np.int64], order: int, size: int) -> None:
        self._bits = 64 // order
        if size > 2**self._bits:
            raise ValueError(f"{size} ids do not fit into {self._bits} bits each")
        self._size = size
        keys, counts = np.unique(_keys(ids, order, self._bits), return_counts=True)
        orders = [_order(keys, counts, self._bits)]
        for length in range(order - 1, 0, -1):
            # Below the longest, an n-gram counts by how many different ids precede it.
            mask = np.uint64(2 ** (self._bits * length) - 1)
            keys, counts = np.unique(keys & mask, return_counts=True)
            orders.append(_order(keys, counts, self._bits))
        self._orders = orders[::-1]

    def probabilities(self, ids: npt.NDArray[np.int64]) -> Floats:
        """P of each id after those before it; float64 [len(ids)]."""
        result = np.full(len(ids), 1.0 / self._size)
        for length, order in enumerate(self._orders, start=1):
            keys = _keys(ids, length, self._bits)
            here, found = _find(order.keys, keys)
            above, known = _find(order.contexts, keys >> np.uint64(self._bits))
            known[: length - 1] = False
            share = np.where(found, order.discounted[here], 0.0) / order.totals[above]
            result = np.where(known, share + order.left_over[above] * result, result)
        return result


def _keys(ids: npt.NDArray[np.int64], length: int, bits: int) -> Keys:
    """The n-gram that ends at each id; what would lie before the first is 0."""
    keys = np.zeros(len(ids), dtype=np.uint64)
    for back in range(min(length, len(ids))):
        keys[back:] |= ids[: len(ids) - back].astype(np.uint64) << np.uint64(bits * back)
    return keys


def _order(keys: Keys, counts: npt.NDArray[np.int64], bits: int) -> _Order:
    discounts = _discounts(counts)
    discount = discounts[np.minimum(counts, 3)]
    context_of_key = keys >> np.uint64(bits) if bits < 64 else np.zeros_like(keys)
    contexts, starts = np.unique(context_of_key, return_index=True)
    totals = np.add.reduceat(counts, starts).astype(np.float64)
    left_over = np.add.reduceat(discount, starts) / totals
    return _Order(keys, counts - discount, contexts, totals, left_over)


def _discounts(counts: npt.NDArray[np.int64]) -> Floats:
    """What is taken from n-grams seen 0, 1, 2, and 3 or more times."""
    seen = [int((counts == times).sum()) for times in range(1, 5)]
    if min(seen) == 0:
        return np.array([0.0, 0.5, 0.75, 0.75])
    one, two, three, four = seen
    share = one / (one + 2 * two)
    found = [1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three]
    return np.array([0.0, *np.clip(found, 0.05, [0.95, 1.95, 2.95])])


def _find(table: Keys, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Index of each key in the sorted table, and whether it is there."""
    index = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return index, table[index] == keys

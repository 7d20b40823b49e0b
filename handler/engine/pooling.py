"""One vector for a text: the mean of its tokens' last hidden states, or the last token's.

The same bits however a text is cut into chunks and on every processor: states are added one after
another, in double precision.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from handler.engine.options import MEAN
from handler.engine.step import Embed


class Pool:
    """Takes in the hidden states of a text, in their order."""

    def __init__(self, kind: str) -> None:
        """Begin; `kind` is `options.MEAN` or `options.LAST`."""
        self._is_mean = kind == MEAN
        self._sum: npt.NDArray[np.float64] | None = None
        self._count = 0

    def asks(self, row: int, count: int, *, ends: bool) -> list[Embed]:
        """What is asked of a chunk of `count` rows from `row`; `ends`: it is the text's last."""
        if self._is_mean:
            return [Embed(row, count)]
        return [Embed(row + count - 1, 1)] if ends else []

    def add(self, hidden: npt.NDArray[np.float32]) -> None:
        """Take in states, [count, width]."""
        if self._sum is None:
            self._sum = np.zeros(hidden.shape[1], np.float64)
        for state in hidden:
            self._sum += state
        self._count += len(hidden)

    def vector(self) -> npt.NDArray[np.float64]:
        """The text's vector, [width].

        Raises:
            FloatingPointError: The model's states are no numbers.
        """
        if self._sum is None or not np.isfinite(self._sum).all():
            raise FloatingPointError("the model's hidden states are not finite")
        return self._sum / self._count

"""Runs a graph over whole windows of text with onnxruntime, to calibrate and to measure it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from archive.attention import CACHE_ROWS, IS_PROMPT, PROMPT_START
from archive.checkpoint import ModelShape

Tokens = NDArray[np.int64]


class WindowRunner:
    """A loaded graph and one cache row, as long as the window."""

    def __init__(self, model: str | bytes, shape: ModelShape, length: int) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Between windows this process computes in numpy, and spinning threads would be in its way:
        # with them the gate takes a quarter longer and half as much processor time again.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        row = (1, shape.n_head, length, shape.head_dim)
        self._heads = shape.n_head
        self._is_phased = any(given.name == IS_PROMPT for given in self._session.get_inputs())
        self._past = {
            given.name: np.zeros(row, np.int8 if given.type == "tensor(int8)" else np.float32)
            for given in self._session.get_inputs()
            if given.name.startswith("past_")
        }

    def run(self, tokens: Tokens, logit_rows: Tokens, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Run one window [length] from its start; logits come for `logit_rows`."""
        length = len(tokens)
        feeds = {
            "input_ids": tokens[None],
            "position_ids": np.arange(length)[None],
            "seqlens_k": np.array([length - 1], np.int32),
            "total_sequence_length": np.array(length, np.int32),
            "logit_rows": logit_rows,
            **self._past,
        }
        if self._is_phased:
            feeds |= _whole_prompt(self._heads, length)
        results: list[NDArray[Any]] = self._session.run(list(outputs), feeds)
        return results


def _whole_prompt(heads: int, length: int) -> dict[str, NDArray[Any]]:
    """What attention over bytes needs to know of a prompt that begins and ends in this run."""
    places = np.zeros((heads, length, 3), np.int64)
    places[..., 1], places[..., 2] = np.indices((heads, length))
    return {
        IS_PROMPT: np.array(True),
        PROMPT_START: np.zeros(1, np.int64),
        CACHE_ROWS: places,
    }

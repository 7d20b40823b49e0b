"""Runs a graph as the engine does: one slab of slots, read and written in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from archive.attention import CACHE_ROWS, IS_PROMPT, PROMPT_START
from archive.checkpoint import ModelShape

Ids = NDArray[np.int64]


class Slots:
    def __init__(self, graph: onnx.ModelProto | str, shape: ModelShape, slots: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        model = graph if isinstance(graph, str) else graph.SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options)
        inputs = {given.name: given.type for given in self.session.get_inputs()}
        self.dtype = np.int8 if inputs["past_key.0"] == "tensor(int8)" else np.float32
        self.heads = shape.n_head
        row = (slots, shape.n_head, shape.n_positions, shape.head_dim)
        self.slab = {
            f"{kind}.{layer}": np.zeros(row, self.dtype)
            for kind in ("key", "value")
            for layer in range(shape.n_layer)
        }

    def run(
        self, ids: Ids, past: Ids, first: int = 0, logit_rows: Ids | None = None
    ) -> NDArray[np.float32]:
        """Run tokens [batch, sequence] after `past` [batch] others, in slots from `first` on."""
        batch, length = ids.shape
        rows = np.arange(batch * length) if logit_rows is None else logit_rows
        feeds: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            "position_ids": past[:, None] + np.arange(length),
            "seqlens_k": (past + length - 1).astype(np.int32),
            "total_sequence_length": np.array(past.max() + length, np.int32),
            "logit_rows": rows,
        }
        if self.dtype == np.int8:
            places = np.zeros((self.heads, length, 3), np.int64)
            places[..., 1], places[..., 2] = np.indices((self.heads, length))
            places[..., 2] += past[0]
            feeds |= {IS_PROMPT: np.array(length > 1), PROMPT_START: past[:1], CACHE_ROWS: places}
        binding = self.session.io_binding()
        binding.bind_output("logits")
        for name, value in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name, array in self.slab.items():
            view = array[first : first + batch]
            place = ("cpu", 0, self.dtype, view.shape, view.ctypes.data)
            binding.bind_input(f"past_{name}", *place)
            binding.bind_output(f"present_{name}", *place)
        self.session.run_with_iobinding(binding)
        logits: NDArray[np.float32] = binding.get_outputs()[0].numpy()
        return logits

    def prefill(self, ids: Ids, cuts: list[int], slot: int = 0) -> NDArray[np.float32]:
        """Run one prompt [length] in pieces that end at `cuts`; logits of every position."""
        borders = [0, *cuts, len(ids)]
        pieces = [
            self.run(ids[None, start:end], np.array([start]), slot)
            for start, end in zip(borders, borders[1:], strict=False)
        ]
        return np.concatenate(pieces)

"""GPT-2 on ONNX Runtime. The graph reads and writes the slab in place; nothing is copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from handler.engine.kv_cache import KVSlab
from handler.engine.model import Logits, ModelShape
from handler.engine.sampler import NumpySampler
from handler.engine.settings import EngineSettings
from handler.errors import ModelError

Ids = npt.NDArray[np.int64]


def _session_options(settings: EngineSettings, heads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # With more threads than heads, attention splits a long text that is alone between them, and not
    # one among others: its last bits would depend on its neighbours.
    options.intra_op_num_threads = min(settings.num_threads, heads)
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads spin within a step, which has some 150 products and norms to hand over, and stop with
    # it: between steps the processors belong to the frontend and the clients.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Freed weights and scratch go back to the system, not into an arena of the largest prompt.
    options.enable_cpu_mem_arena = False
    return options


def _cache_dtype(session: ort.InferenceSession) -> npt.DTypeLike:
    """Return what the graph keeps keys and values in: bytes at fixed scales, or float32."""
    types = {given.name: given.type for given in session.get_inputs()}
    return np.int8 if types["past_key.0"] == "tensor(int8)" else np.float32


class _Step:
    """One way to run the graph: bound once to a range of slots, its inputs written in place."""

    def __init__(
        self,
        session: ort.InferenceSession,
        slab: KVSlab,
        first: int,
        batch: int,
        length: int,
        phase: dict[str, npt.NDArray[Any]],
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        self.input_ids = np.zeros((batch, length), np.int64)
        self.position_ids = np.zeros((batch, length), np.int64)
        self.seqlens_k = np.zeros(batch, np.int32)
        self.total_sequence_length = np.zeros((), np.int32)
        self._bind("input_ids", self.input_ids)
        self._bind("position_ids", self.position_ids)
        self._bind("seqlens_k", self.seqlens_k)
        self._bind("total_sequence_length", self.total_sequence_length)
        self._phase = phase
        for name, value in phase.items():
            self._bind(name, value)
        for kind, arrays in (("key", slab.keys), ("value", slab.values)):
            for layer, array in enumerate(arrays):
                rows = array[first : first + batch]
                self._bind(f"past_{kind}.{layer}", rows)
                self._bind(f"present_{kind}.{layer}", rows, output=True)

    def bind_logits(self, logit_rows: Ids, logits: Logits) -> None:
        """Say which of the flattened rows need logits, and where these go."""
        self._logit_rows = logit_rows
        self._bind("logit_rows", logit_rows)
        self._bind("logits", logits, output=True)

    def run(self) -> None:
        """Compute."""
        self._session.run_with_iobinding(self._binding)

    def _bind(self, name: str, array: npt.NDArray[Any], *, output: bool = False) -> None:
        bind = self._binding.bind_output if output else self._binding.bind_input
        bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


class OnnxModel:
    """Runs `model.onnx`, as archive/graph.py builds it."""

    def __init__(self, session: ort.InferenceSession, shape: ModelShape, slots: int) -> None:
        self.shape = shape
        self.sampler = NumpySampler()
        self.is_exact = False
        self.slab = shape.slab(slots, _cache_dtype(session))
        self._session = session
        self._decodes: dict[int, _Step] = {}
        self._decode_logits = np.empty((slots, shape.vocab_size), np.float32)

    @classmethod
    def load(cls, path: Path, shape: ModelShape, settings: EngineSettings) -> OnnxModel:
        """Load the graph and its weights.

        Raises:
            ModelError: The file is missing or broken.
        """
        try:
            options = _session_options(settings, shape.heads)
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own kinds, all from Exception
            reason = str(error).splitlines()[0].replace(str(path.parent), "model")
            raise ModelError(f"model.onnx can not be loaded: {reason}") from None
        return cls(session, shape, settings.slots)

    def prefill(self, slot: int, tokens: Ids, start: int, num_logits: int) -> Logits:
        """See `Model.prefill`."""
        count = len(tokens)
        rows = np.arange(count - max(num_logits, 1), count)
        if count % 2:
            # Attention works on blocks of rows, and a block of a single row is computed by other
            # kernels, with other last bits. One more row, that nobody reads, avoids such blocks;
            # the slab has room for it (`ModelShape.slab`).
            tokens = np.append(tokens, tokens[-1])
        phase = self._phase(start=start, count=len(tokens))
        step = _Step(self._session, self.slab, slot, 1, len(tokens), phase)
        step.input_ids[0] = tokens
        positions = np.arange(start, start + len(tokens))
        step.position_ids[0] = np.minimum(positions, self.shape.max_length - 1)
        step.seqlens_k[0] = start + len(tokens) - 1
        step.total_sequence_length[...] = start + len(tokens)
        logits = np.empty((len(rows), self.shape.vocab_size), np.float32)
        step.bind_logits(rows, logits)
        step.run()
        return logits[:num_logits]

    def decode(self, tokens: Ids, lengths: Ids) -> Logits:
        """See `Model.decode`."""
        batch = len(tokens)
        logits = self._decode_logits[:batch]
        if batch not in self._decodes:
            step = _Step(self._session, self.slab, 0, batch, 1, self._phase())
            self._decodes[batch] = step
            step.bind_logits(np.arange(batch), logits)
        step = self._decodes[batch]
        step.input_ids[:, 0] = tokens
        step.position_ids[:, 0] = lengths
        step.seqlens_k[:] = lengths
        step.total_sequence_length[...] = lengths.max() + 1
        step.run()
        return logits

    def _phase(self, *, start: int = 0, count: int = 0) -> dict[str, npt.NDArray[Any]]:
        """What a cache of bytes needs to know of a step (archive/attention.py); 0: decoding."""
        if self.slab.dtype != np.int8:
            return {}
        heads = self.shape.heads
        places = np.zeros((heads, max(count, 1), 3), np.int64)
        places[..., 1], places[..., 2] = np.indices(places.shape[:2])
        places[..., 2] += start
        return {
            "is_prompt": np.array(count > 0),
            "prompt_start": np.array([start], np.int64),
            "cache_rows": places,
        }

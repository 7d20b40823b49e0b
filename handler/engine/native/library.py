"""Python's side of the C interface (api.h): loads a library, hands it a model, runs steps.

The one place that knows `ctypes`. Every size and index is checked, here or at the border in C.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from handler.engine.activations import FINISHES
from handler.engine.errors import ModelError
from handler.engine.model import ModelShape
from handler.engine.native.asks import Asks
from handler.engine.native.matrices import LANES, Array, padded
from handler.engine.native.memory import CacheMemory
from handler.engine.native.pointers import ArrayPointers, Floats, judged_rows, result_pointer
from handler.engine.native.records import MAX_CHANNELS, PRECISIONS, Decode, Layer, Model
from handler.engine.step import Answer, Deadline, DecodeStep, Draw, Score

STATUS = (
    "",
    "no memory",
    "there must be 1 to max_rows rows, and no more wanted ones",
    "a token id is outside the vocabulary",
    "a slot does not exist",
    "a position is beyond the context",
    "rows of one slot must follow each other, at consecutive positions",
    "wanted rows must be ascending indices of rows",
    "these steps cannot follow each other in one call",
)
BAD_DECODE = len(STATUS) - 1


def load_library(path: Path) -> ctypes.CDLL:
    """Load a library and declare its functions.

    Raises:
        ModelError: It is not there, or not for this machine.
    """
    try:
        library = _open(path)
        _declare(library)
    except OSError as error:
        raise ModelError(f"{path.name} cannot be loaded: {error}") from None
    except AttributeError as error:
        raise ModelError(f"{path.name} is of another version: {error}") from None
    return library


def _open(path: Path) -> ctypes.CDLL:
    """Load a library, from memory where it lies in a folder that no code may be run from."""
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        if not hasattr(os, "memfd_create"):
            raise
        code = path.read_bytes()
        # It stays open: the loader takes one file of a name for another of the same name.
        descriptor = os.memfd_create(path.name)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(code)
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")


def _declare(library: ctypes.CDLL) -> None:
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    library.gpt2_isa.restype = ctypes.c_char_p
    library.gpt2_slot_bytes.restype = ctypes.c_uint64
    library.gpt2_slot_bytes.argtypes = [pointer]
    library.gpt2_create.restype = pointer
    library.gpt2_create.argtypes = [pointer]
    library.gpt2_destroy.restype = None
    library.gpt2_destroy.argtypes = [pointer]
    library.gpt2_step.argtypes = [pointer, pointer, number, pointer, number, pointer, pointer]
    library.gpt2_step_and_answer.argtypes = [
        *(pointer, pointer, number, pointer, number, pointer, number, pointer)
    ]
    library.gpt2_decode.argtypes = [pointer, pointer, number, pointer, pointer]
    library.gpt2_copy.argtypes = [pointer, number, number, number]
    library.gpt2_log_probability.restype = ctypes.c_double
    library.gpt2_log_probability.argtypes = [pointer, number, number, number, pointer, pointer]


class NativeStep:
    """A model that is loaded into a library. Not thread-safe."""

    def __init__(
        self,
        library: ctypes.CDLL,
        arrays: Mapping[str, Array],
        shape: ModelShape,
        *,
        cache: str = "int8",
        slots: int = 32,
        max_rows: int = 256,
        threads: int = 1,
        is_part: bool = False,
    ) -> None:
        """Hand a model over.

        Args:
            library: Of `load_library`.
            arrays: The model's, as `weights.pack_model` names them. `NAME.peaks`, float32 zeros
                [K_pad], come to hold the largest magnitudes of a matrix's inputs, and `NAME.gram`,
                float32 zeros [K_pad, K_pad], the sums of their products (in its upper half).
            shape: Its sizes.
            cache: What keys and values are kept as, "int8" or "float32".
            slots: Sequences that the cache holds.
            max_rows: Rows of a step at most.
            threads: Threads that share a step.
            is_part: There is no last LayerNorm: `hidden` of a step are the rows themselves.

        Raises:
            ModelError: An array is missing or has another size, or there is no memory.
        """
        self.shape = shape
        self.slots = slots
        self.max_length = shape.max_length
        self.max_rows = max_rows
        self.library = library
        self._pointers = pointers = ArrayPointers(arrays)
        self._engine: int | None = None
        channels = padded(shape.width // shape.heads)
        if channels > MAX_CHANNELS:
            raise ModelError(f"a head may have {MAX_CHANNELS} channels, not {channels}")
        self._layers = (Layer * shape.layers)(
            *(pointers.layer(i, shape, channels) for i in range(shape.layers))
        )
        self._model = Model(
            *(shape.layers, shape.heads, shape.width, shape.inner_width, shape.vocab_size),
            *(shape.max_length, padded(shape.width), padded(shape.inner_width), channels),
            *(padded(shape.max_length), PRECISIONS[cache]),
            arrays["token_embedding"].dtype == np.float16,
            FINISHES[shape.activation],
            *(slots, max_rows, threads, shape.epsilon),
            ctypes.addressof(self._layers),
            pointers.address("token_embedding", shape.vocab_size * padded(shape.width)),
            pointers.address("position_embedding", shape.max_length * padded(shape.width)),
            None if is_part else pointers.address("norm.gain", padded(shape.width)),
            None if is_part else pointers.address("norm.bias", padded(shape.width)),
            pointers.linear("head", padded(shape.width), shape.vocab_size),
        )
        self.cache = CacheMemory(slots, library.gpt2_slot_bytes(ctypes.addressof(self._model)))
        self._model.cache = self.cache.address
        self._engine = library.gpt2_create(ctypes.addressof(self._model))
        if not self._engine:
            raise ModelError("there is no memory or no thread for the model's buffers")

    def __del__(self) -> None:
        if self._engine:
            self.library.gpt2_destroy(self._engine)
            self._engine = None

    @property
    def isa(self) -> str:
        """The instruction set that computes."""
        name: bytes = self.library.gpt2_isa()
        return name.decode()

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one position over all layers."""
        return self.cache.slot_bytes // padded(self.shape.max_length)

    def step(
        self,
        rows: npt.NDArray[np.int32],
        want: Sequence[int] | npt.NDArray[np.signedinteger],
        logits: Floats | None = None,
        hidden: Floats | None = None,
    ) -> None:
        """Compute rows, any mix of prompts and decoding.

        Args:
            rows: int32 [count, 3]: token, slot, position. Rows of one slot follow each other at
                consecutive positions, and all earlier positions of it have been computed.
            want: Indices of the rows that are asked for, ascending.
            logits: float32 [len(want), vocab], filled.
            hidden: float32 [len(want), width], filled with the normalised last hidden states.

        Raises:
            ValueError: A size or an index is wrong; nothing was computed.
        """
        rows, wanted = judged_rows(rows, want)
        self._judge(
            self.library.gpt2_step(
                self._engine,
                rows.ctypes.data,
                len(rows),
                wanted.ctypes.data,
                len(wanted),
                result_pointer(logits, (len(wanted), self.shape.vocab_size)),
                result_pointer(hidden, (len(wanted), self.shape.width)),
            )
        )

    def step_and_answer(
        self,
        rows: npt.NDArray[np.int32],
        asks: Sequence[Draw | Score],
        want: Sequence[int] = (),
        hidden: Floats | None = None,
    ) -> list[Answer]:
        """Compute rows as `step` does, and answer what is asked of them, in one call.

        Args:
            rows: See `step`.
            asks: In any order; several may ask for one row. Rows that nobody asks for have no
                logits.
            want: Indices of the rows whose hidden states are wanted, ascending.
            hidden: float32 [len(want), width], filled.

        Returns:
            One for each of `asks`. Its token is `NOT_FINITE` where logits are no numbers, and
            `BAD_ASK` where a row, a token or an option is out of range.

        Raises:
            ValueError: A size or an index of `rows` or `want` is wrong; nothing was computed.
        """
        rows, wanted = judged_rows(rows, want)
        records = Asks(asks, self.shape.vocab_size)
        if (hidden is None) != (len(wanted) == 0):
            raise ValueError("hidden states need rows that are wanted, and room")
        self._judge(
            self.library.gpt2_step_and_answer(
                self._engine,
                rows.ctypes.data,
                len(rows),
                records.address,
                len(records),
                wanted.ctypes.data,
                len(wanted),
                result_pointer(hidden, (len(wanted), self.shape.width)),
            )
        )
        return records.answers()

    def decode(
        self,
        rows: npt.NDArray[np.int32],
        draws: Sequence[Draw],
        uniforms: npt.NDArray[np.float64],
        until: Deadline,
    ) -> list[DecodeStep]:
        """Run steps that follow each other on the tokens chosen in the one before.

        See `Model.decode`. What cannot run so is answered as one step.

        Raises:
            ValueError: A size or an index of `rows` is wrong; nothing was computed.
        """
        rows, _ = judged_rows(rows, ())
        if len(draws) != len(rows) or uniforms.shape[1:] != (len(rows),):
            raise ValueError("each row needs one draw, and one random number a step")
        most, records = len(uniforms), Asks(draws, self.shape.vocab_size)
        uniforms = np.ascontiguousarray(uniforms, np.float64)
        tokens, ended = np.empty((most, len(rows)), np.int32), np.empty(most, np.int64)
        call = Decode(most, 0, *(a.ctypes.data for a in (uniforms, tokens, ended)), until.address)
        status = self.library.gpt2_decode(
            *(self._engine, rows.ctypes.data, len(rows)),
            *(records.address, ctypes.addressof(call)),
        )
        if status == BAD_DECODE:
            return [DecodeStep.of(self.step_and_answer(rows, draws))]
        self._judge(status)
        seconds = (ended[: call.done] / 1e9).tolist()
        return [*map(DecodeStep, seconds, tokens[: call.done].tolist())]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another.

        Raises:
            ValueError: There is no such slot or position.
        """
        self._judge(self.library.gpt2_copy(self._engine, source, target, length))

    def release(self, slot: int, length: int = 0) -> None:
        """Give the memory of a slot back, but for its first `length` positions."""
        layer_bytes = self.cache.slot_bytes // self.shape.layers
        block_bytes = layer_bytes // (padded(self.shape.max_length) // LANES)
        kept = padded(length) // LANES * block_bytes
        for start in range(0, self.cache.slot_bytes, layer_bytes):
            self.cache.release(slot, start + kept, start + layer_bytes)

    @staticmethod
    def _judge(status: int) -> None:
        if status:
            raise ValueError(STATUS[status])

"""The answer to a request for embeddings: a list of vectors, in the order of the texts."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.content.json_text import to_json, to_json_in_chunks
from handler.engine.output import Output
from handler.engine.sequence import Sequence
from handler.errors import EngineFailure
from handler.replies import sideband
from handler.replies.error_replies import error_body
from handler.replies.pending_reply import Json, last_frame
from handler.replies.progress import Progress, usage_of
from handler.replies.timings import Timings
from handler.requests.embeddings import PreparedEmbeddings

# Numbers that are written out in the time of a token's log probabilities: as text, in base64.
FLOATS_PER_TOKEN, BASE64_PER_TOKEN = 64, 4096


class EmbeddingReply(Progress):
    """Takes vectors in as they come; see `PendingReply`."""

    streams = False

    def __init__(self, model: str, prepared: PreparedEmbeddings, *, framed: bool = False) -> None:
        super().__init__(len(prepared.sequences))
        self.content_type = "application/json" + (sideband.SUFFIX if framed else "")
        self.timings = Timings()
        self.ignored_fields = ""
        self._model = model
        self._prepared = prepared
        self._framed = framed
        self._cached_tokens = 0
        self._vectors: list[npt.NDArray[np.float32] | None] = [None] * len(prepared.sequences)

    @property
    def usage(self) -> Json:
        """See `PendingReply.usage`."""
        return usage_of(self._prepared.texts, 0, self._cached_tokens)

    @property
    def sequences(self) -> list[Sequence]:
        """See `PendingReply.sequences`."""
        return self._prepared.sequences

    @property
    def tokens_waiting(self) -> int:
        """See `PendingReply.tokens_waiting`."""
        numbers = len(self._vectors) * self._prepared.dimensions
        return numbers // (BASE64_PER_TOKEN if self._prepared.is_base64 else FLOATS_PER_TOKEN)

    def add(self, output: Output) -> None:
        """See `PendingReply.add`."""
        self.timings.note(output)
        if output.error is not None or output.vector is None:
            reason = output.error or "A text could not be embedded"
            self.error = self.error or EngineFailure(reason, code="engine_error")
            return
        self.finish_reasons[output.index] = output.finish_reason
        self._cached_tokens += output.cached_tokens
        self._vectors[output.index] = self._finished(output.vector)

    def _finished(self, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Cut and normalise a vector; the same bits on every processor."""
        vector = vector[: self._prepared.dimensions]
        if self._prepared.normalizes:
            # NumPy's own sums are added in an order of the processor's.
            length = np.sqrt(np.add.accumulate(vector * vector)[-1])
            vector = vector / length if length > 0 else vector
        return vector.astype(np.float32)

    def take_chunk(self) -> str:
        """See `PendingReply.take_chunk`: nothing before the end."""
        return ""

    def take_end(self) -> str:
        """See `PendingReply.take_end`."""
        frame = last_frame(self) if self._framed else ""
        if self.error is not None:
            return frame + to_json(error_body(self.error))
        body = {
            "object": "list",
            "data": [self._one(*each) for each in enumerate(self._vectors)],
            "model": self._model,
            "usage": self.usage,
        }
        return frame + to_json_in_chunks(body)

    def _one(self, index: int, vector: npt.NDArray[np.float32] | None) -> dict[str, Any]:
        assert vector is not None  # each has come, or there is an error
        written: Any
        if self._prepared.is_base64:
            written = base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
        else:
            written = vector.tolist()
        return {"object": "embedding", "index": index, "embedding": written}

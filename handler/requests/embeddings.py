"""From a request for embeddings to the sequences that the engine reads."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from handler.engine.options import MEAN, SamplingOptions
from handler.engine.sequence import Sequence
from handler.errors import BadRequest
from handler.older_pythons import SLOTS
from handler.requests.embedding_schema import EmbeddingRequest
from handler.requests.prompt_reader import PromptReader, PromptText
from handler.requests.prompts import naming
from handler.requests.schema import CompletionRequest
from handler.workshop import pace

# A number of an embedding in a reply, in bytes: written out, and in base64.
FLOAT_BYTES, BASE64_BYTES = 22, 6


@dataclass(frozen=True, **SLOTS)
class PreparedEmbeddings:
    """The sequences of a request, one for each text, and what becomes of their vectors."""

    sequences: list[Sequence]
    texts: list[PromptText]
    dimensions: int
    normalizes: bool
    is_base64: bool


@dataclass(frozen=True, **SLOTS)
class EmbeddingPreparer:
    """Knows how texts are read, and how long a reply may be."""

    reader: PromptReader
    width: int
    max_reply_bytes: int
    deadline_seconds: float

    def prepare(self, request_id: str, request: EmbeddingRequest) -> PreparedEmbeddings:
        """Turn a request into sequences.

        Raises:
            BadRequest: A text is too long, a token id does not exist, or the reply would be.
        """
        dimensions = request.dimensions or self.width
        is_base64 = request.encoding_format == "base64"
        self._bound(request, dimensions, is_base64=is_base64)
        # A prompt of which nothing follows.
        rules = CompletionRequest.model_construct(
            truncate_prompt=request.truncate_prompt,
            truncate_prompt_tokens=request.truncate_prompt_tokens,
            add_special_tokens=request.add_special_tokens,
        )
        options = SamplingOptions(max_tokens=0, seed=0, pooling=request.pooling or MEAN)
        deadline = time.monotonic() + self.deadline_seconds
        texts: list[PromptText] = []
        sequences: list[Sequence] = []
        for index, given in enumerate(request.input):
            pace()
            with naming(f"input[{index}]" if len(request.input) > 1 else "input"):
                texts.append(self.reader.read(given, rules, 0))
            sequence = Sequence(
                request_id,
                index,
                np.array(texts[-1].tokens, np.int32),
                options,
                self.reader.vocabulary,
                end_tokens=frozenset(),
                deadline=deadline,
                is_streamed=False,
            )
            sequences.append(sequence)
        normalizes = request.normalize is not False
        return PreparedEmbeddings(sequences, texts, dimensions, normalizes, is_base64)

    def _bound(self, request: EmbeddingRequest, dimensions: int, *, is_base64: bool) -> None:
        """Refuse more numbers than there are, and a longer reply than may be sent."""
        if dimensions > self.width:
            raise BadRequest(
                f"`dimensions` must be at most {self.width}, the model's width",
                param="dimensions",
                code="too_many_dimensions",
            )
        each = dimensions * (BASE64_BYTES if is_base64 else FLOAT_BYTES)
        if len(request.input) * each > self.max_reply_bytes:
            most = self.max_reply_bytes // each
            hint = "" if is_base64 else ', or `encoding_format`: "base64", which takes a fourth'
            raise BadRequest(
                f"`input` holds {len(request.input)} texts; embeddings of {most} fit a reply at "
                f"{dimensions} numbers each. Send fewer{hint}",
                param="input",
                code="too_many_embeddings",
            )

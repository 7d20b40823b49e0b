"""The server's JSON as frozen dataclasses. Knows no HTTP."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Union

DEFAULT_MODEL = "gpt2"

Json = Mapping[str, Any]
Prompt = Union[str, Sequence[str], Sequence[int], Sequence[Sequence[int]]]


class Options(TypedDict, total=False):
    """How to write: each left out means the server's default. The server judges the values."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[str, float]
    seed: int
    stop: str | list[str]
    n: int
    best_of: int
    echo: bool
    logprobs: int
    truncate_prompt: bool
    ignore_eos: bool
    response_format: Json
    guided_json: Json | str
    guided_regex: str
    guided_choice: list[str]
    guided_grammar: str


@dataclass(frozen=True)
class Usage:
    """Tokens counted for one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = 0
    truncated_tokens: int = 0

    @classmethod
    def of(cls, body: Json) -> Usage:
        """Read the `usage` object of a reply."""
        details = body.get("prompt_tokens_details") or {}
        return cls(
            int(body["prompt_tokens"]),
            int(body["completion_tokens"]),
            int(body["total_tokens"]),
            int(details.get("cached_tokens") or 0),
            int(details.get("truncated_tokens") or 0),
        )


@dataclass(frozen=True)
class Logprobs:
    """Per token: its text, log probability, best alternatives and offset in the text."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float | None, ...]
    top_logprobs: tuple[Mapping[str, float] | None, ...]
    text_offset: tuple[int, ...]

    @classmethod
    def of(cls, body: Json | None) -> Logprobs | None:
        """Read the `logprobs` object of a choice; None stays None."""
        if body is None:
            return None
        tokens = tuple(body["tokens"])
        top = body.get("top_logprobs") or [None] * len(tokens)
        return cls(tokens, tuple(body["token_logprobs"]), tuple(top), tuple(body["text_offset"]))


@dataclass(frozen=True)
class Choice:
    """One of the completions that a request asked for."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: Logprobs | None = None

    @classmethod
    def of(cls, body: Json) -> Choice:
        """Read one element of `choices`."""
        return cls(
            int(body["index"]),
            str(body["text"]),
            body.get("finish_reason"),
            Logprobs.of(body.get("logprobs")),
        )


@dataclass(frozen=True)
class Completion:
    """A whole reply."""

    id: str
    model: str
    created: int
    choices: tuple[Choice, ...]
    usage: Usage | None
    raw: Json = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text

    @classmethod
    def of(cls, body: Json) -> Completion:
        """Read a `text_completion` object."""
        usage = body.get("usage")
        return cls(
            str(body["id"]),
            str(body["model"]),
            int(body["created"]),
            tuple(Choice.of(choice) for choice in body["choices"]),
            Usage.of(usage) if usage else None,
            body,
        )


class EmbeddingOptions(TypedDict, total=False):
    """How texts become vectors: each left out means the server's default."""

    dimensions: int
    pooling: str
    normalize: bool
    truncate_prompt: bool
    truncate_prompt_tokens: int
    add_special_tokens: bool


@dataclass(frozen=True)
class Embeddings:
    """Vectors, in the order of the texts."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage

    @classmethod
    def of(cls, body: Json) -> Embeddings:
        """Read a list of embeddings in base64."""
        ordered = sorted(body["data"], key=lambda each: int(each["index"]))
        vectors = tuple(_floats(each["embedding"]) for each in ordered)
        return cls(str(body["model"]), vectors, Usage.of(body["usage"]))


def _floats(encoded: str) -> tuple[float, ...]:
    """The numbers of little-endian 32-bit floats in base64."""
    numbers = array("f", base64.b64decode(encoded, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


@dataclass(frozen=True)
class TextEvent:
    """More text of choice `index`."""

    index: int
    text: str
    logprobs: Logprobs | None = None


@dataclass(frozen=True)
class FinishEvent:
    """Choice `index` is complete: `reason` is "stop" or "length"."""

    index: int
    reason: str


@dataclass(frozen=True)
class UsageEvent:
    """What the request counted; comes once, last."""

    usage: Usage


Event = Union[TextEvent, FinishEvent, UsageEvent]


@dataclass(frozen=True)
class ModelInfo:
    """What `v1/models` says of a loaded model; `raw` holds all of it."""

    id: str
    version: str | None
    checkpoint: str | None
    parameters: int | None
    context_length: int | None
    vocab_size: int | None
    engine: str | None
    precision: str | None
    examples: tuple[str, ...]
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, body: Json) -> ModelInfo:
        """Read one element of `data`."""
        return cls(
            str(body["id"]),
            body.get("version"),
            body.get("checkpoint"),
            body.get("parameters"),
            body.get("context_length"),
            body.get("vocab_size"),
            body.get("engine"),
            body.get("precision"),
            tuple(body.get("examples") or ()),
            body,
        )


@dataclass(frozen=True)
class Worker:
    """One process that serves a model; READY means it has written a token."""

    id: str
    status: str
    pid: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class ModelStatus:
    """What the management API says of one registered version."""

    name: str
    version: str
    archive: str
    min_workers: int
    max_workers: int
    workers: tuple[Worker, ...]
    raw: Json = field(repr=False, compare=False)

    @property
    def ready(self) -> bool:
        """Whether some worker can take a request now."""
        return any(worker.status == "READY" for worker in self.workers)

    @classmethod
    def of(cls, body: Json) -> ModelStatus:
        """Read one element of a describe reply."""
        workers = tuple(
            Worker(str(w["id"]), str(w["status"]), w.get("pid"), w.get("memoryUsage"))
            for w in body.get("workers") or ()
        )
        return cls(
            str(body["modelName"]),
            str(body["modelVersion"]),
            str(body.get("modelUrl", "")),
            int(body.get("minWorkers", 0)),
            int(body.get("maxWorkers", 0)),
            workers,
            body,
        )


@dataclass(frozen=True)
class Health:
    """`live`: the server answers. `ready`: it would write text now."""

    live: bool
    ready: bool
    detail: str = ""

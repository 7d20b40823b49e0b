"""From a checked request to the sequences that the engine writes."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from handler.archive_metadata import Defaults
from handler.engine.grammar import Grammars
from handler.engine.options import LogitBias, SamplingOptions
from handler.engine.sampler import GREEDY_BELOW
from handler.engine.sequence import Sequence
from handler.errors import BadRequest
from handler.older_pythons import SLOTS
from handler.requests.grammars import compiled
from handler.requests.prompt_reader import PromptReader, PromptText
from handler.requests.resume import Resume
from handler.requests.schema import CompletionRequest
from handler.requests.token_rules import token_rules
from handler.workshop import pace

# Log probabilities in one reply, at so many bytes each: TorchServe drops a worker, and everybody's
# streams, for a reply beyond max_response_size, which is 6.5 MB where nobody raised it.
MAX_LOGPROB_ENTRIES = 100_000
LOGPROB_BYTES = 45
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, **SLOTS)
class Prepared:
    """The sequences of a request, prompt by prompt, and the prompts as they were read.

    `prompt_logprobs`: how many alternatives are reported for each of the prompt's tokens.
    """

    sequences: list[Sequence]
    prompts: list[PromptText]
    seed: int
    echoes: bool = False
    prompt_logprobs: int | None = None

    @property
    def sequences_per_prompt(self) -> int:
        """Sequences of each prompt."""
        return len(self.sequences) // len(self.prompts)


@dataclass(frozen=True, **SLOTS)
class Preparer:
    """Knows how prompts are read, the model's defaults, and how much one request may ask for."""

    reader: PromptReader
    grammars: Grammars
    defaults: Defaults
    max_sequences: int
    max_logprobs: int
    deadline_seconds: float

    def prepare(
        self, request_id: str, request: CompletionRequest, resume: Resume | None = None
    ) -> Prepared:
        """Turn a request into sequences, which go on from `resume` if that is given.

        Raises:
            BadRequest: A prompt is too long, a token id does not exist, or it asks for too much.
        """
        if resume is None:
            return self.prepare_all(request_id, [request])[0]
        seeded = request.model_copy(update={"seed": resume.seed})
        prepared = self.prepare_all(request_id, [seeded])[0]
        for index, choice in resume.choices.items():
            sequence = prepared.sequences[index]
            sequence.resume(choice.tokens, choice.shown)
            sequence.is_finished = choice.finish_reason is not None
        return prepared

    def prepare_all(self, request_id: str, requests: list[CompletionRequest]) -> list[Prepared]:
        """Turn requests that came as one, and count as one, into sequences.

        Raises:
            BadRequest: As `prepare`.
        """
        prompts = [_prompts(request) for request in requests]
        self._bound_number(requests, [len(given) for given in prompts])
        self.reader.bound_text([prompt for given in prompts for prompt in given])
        prepared: list[Prepared] = []
        for request, given in zip(requests, prompts):
            pace()
            first = sum(len(before.sequences) for before in prepared)
            prepared.append(self._prepare(request_id, request, given, first))
        self._bound_logprobs(requests, prepared)
        return prepared

    def _prepare(
        self,
        request_id: str,
        request: CompletionRequest,
        given: list[str | list[int]],
        first: int,
    ) -> Prepared:
        otherwise = _or(request.max_length, self.defaults.max_tokens)
        max_tokens = _or(request.max_tokens, otherwise)
        prompts = [self.reader.read(prompt, request, max_tokens) for prompt in given]
        seed = secrets.randbits(63) if request.seed is None else request.seed
        deadline = time.monotonic() + self.deadline_seconds
        options = self._options(request, seed)
        sequences: list[Sequence] = []
        for prompt in prompts:
            room = self._room(len(prompt.tokens), request, max_tokens)
            for sample_index in range(request.candidates):
                sequence = Sequence(
                    request_id,
                    first + len(sequences),
                    np.array(prompt.tokens, np.int32),
                    replace(options, max_tokens=room, sample_index=sample_index),
                    self.reader.vocabulary,
                    end_tokens=self.reader.metadata.end_tokens,
                    deadline=deadline,
                    is_streamed=bool(request.stream),
                )
                sequences.append(sequence)
        return Prepared(sequences, prompts, seed, bool(request.echo), request.prompt_logprobs)

    def _room(self, prompt: int, request: CompletionRequest, max_tokens: int) -> int:
        """How many tokens may be written after a prompt of so many.

        Raises:
            BadRequest: None, as `max_length` is used up.
        """
        room = self.reader.metadata.context_length - prompt
        if request.max_tokens is not None or request.max_length is None:
            return min(max_tokens, room)
        if request.max_length <= prompt:
            raise BadRequest(
                f"`max_length` is {request.max_length} and includes the prompt, which has "
                f"{prompt} tokens; raise it, or send `max_tokens`, which does not include the "
                "prompt",
                param="max_length",
                code="max_length",
            )
        return min(request.max_length - prompt, room)

    def _bound_number(self, requests: list[CompletionRequest], prompts: list[int]) -> None:
        """Refuse more sequences than the engine holds, running and waiting."""
        sequences = sum(count * request.candidates for request, count in zip(requests, prompts))
        request = requests[0]
        if sequences > self.max_sequences:
            name = "best_of" if request.best_of else "n" if request.n else "prompt"
            raise BadRequest(
                "The request asks for too many sequences at once (prompts x `n` or `best_of`); "
                f"at most {self.max_sequences} are allowed",
                param=name,
                code="too_many_texts",
            )

    def _bound_logprobs(self, requests: list[CompletionRequest], prepared: list[Prepared]) -> None:
        """Refuse a longer reply than may be sent."""
        entries = sum(map(_logprob_entries, requests, prepared))
        if entries > self.max_logprobs:
            raise BadRequest(
                f"`{_asked_for(requests)}` for so many tokens and completions would give "
                f"{entries} values; at most {self.max_logprobs} fit a reply",
                param=_asked_for(requests),
                code="too_many_logprobs",
            )

    def _options(self, request: CompletionRequest, seed: int) -> SamplingOptions:
        """The options that all sequences of a request have in common."""
        return SamplingOptions(
            max_tokens=0,
            seed=seed,
            **self._sampling(request),
            presence_penalty=request.presence_penalty or 0.0,
            frequency_penalty=request.frequency_penalty or 0.0,
            logit_bias=self._bias(request),
            stop=tuple(request.stop or ()),
            ignore_eos=bool(request.ignore_eos),
            min_tokens=request.min_tokens or 0,
            skip_special_tokens=request.skip_special_tokens,
            logprobs=request.logprobs,
            processed_logprobs=self._are_processed(request),
            **_scoring(request),
            **token_rules(request, self.reader),
            ranked=request.candidates > (request.n or 1),
            grammar=compiled(request, self.grammars),
        )

    def _sampling(self, request: CompletionRequest) -> dict[str, Any]:
        """How the next token is chosen: what the request says, else the model's defaults.

        Who asks for the likeliest token gets it: no default may change which one that is.
        """
        if _is_greedy(request):
            return {"temperature": 0.0, "repetition_penalty": _or(request.repetition_penalty, 1.0)}
        defaults = self.defaults
        return {
            "temperature": _or(request.temperature, defaults.temperature),
            "top_k": max(0, int(_or(request.top_k, defaults.top_k))),
            "top_p": _or(request.top_p, defaults.top_p),
            "min_p": _or(request.min_p, defaults.min_p),
            "repetition_penalty": _or(request.repetition_penalty, defaults.repetition_penalty),
        }

    def _are_processed(self, request: CompletionRequest) -> bool:
        """Whether the log probabilities that are reported are behind the sampling options."""
        if request.logprobs is None:
            return False
        mode = request.logprobs_mode or self.defaults.logprobs_mode
        return mode.startswith("processed")

    def _bias(self, request: CompletionRequest) -> LogitBias | None:
        bias: dict[int, float] = {}
        for name, value in (request.logit_bias or {}).items():
            token = int(name)
            if token >= self.reader.metadata.vocab_size:
                raise BadRequest(
                    f"`logit_bias` names the token id {token}; the model's ids go from 0 to "
                    f"{self.reader.metadata.vocab_size - 1}",
                    param="logit_bias",
                    code="unknown_token",
                )
            bias[token] = bias.get(token, 0.0) + value
        return LogitBias.of(bias)


def _logprob_entries(request: CompletionRequest, prepared: Prepared) -> int:
    """Log probabilities that the reply may hold; only completions that are returned count."""
    written = prompts = 0
    for number, prompt in enumerate(prepared.prompts):
        first = prepared.sequences[number * prepared.sequences_per_prompt]
        written += first.options.max_tokens
        prompts += len(prompt.tokens)
    entries = 0
    if request.logprobs is not None:
        entries += (written + (prompts if request.echo else 0)) * (request.logprobs + 1)
    if request.prompt_logprobs is not None:
        entries += prompts * (request.prompt_logprobs + 1)
    return entries * (request.n or 1)


def _scoring(request: CompletionRequest) -> dict[str, Any]:
    """Whether a prompt's tokens are scored, and with how many of the likeliest."""
    asked = [request.prompt_logprobs, request.logprobs if request.echo else None]
    given = [top for top in asked if top is not None]
    return {"prompt_logprobs": bool(given), "prompt_top": max(given, default=0)}


def _asked_for(requests: list[CompletionRequest]) -> str:
    """The field that asks for log probabilities."""
    if any(request.logprobs is not None for request in requests):
        return "logprobs"
    return "prompt_logprobs"


def _is_greedy(request: CompletionRequest) -> bool:
    """Whether a request itself leaves nothing but the likeliest token."""
    temperature = request.temperature
    return (
        (temperature is not None and temperature < GREEDY_BELOW)
        or request.top_k == 1
        or request.top_p == 0
        or request.min_p == 1
    )


def _or(value: Number | None, default: Number) -> Number:
    return default if value is None else value


def _prompts(request: CompletionRequest) -> list[str | list[int]]:
    """The prompts of a request, one by one."""
    prompt = request.prompt
    if prompt is None or isinstance(prompt, str):
        return [prompt or ""]
    if not isinstance(prompt[0], int):
        return list(prompt)
    return [prompt]

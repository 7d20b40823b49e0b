"""From a checked request to the sequences that the engine writes."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

import numpy as np

from handler.archive_facts import ArchiveFacts, Defaults
from handler.engine.options import SamplingOptions
from handler.engine.sequence import Sequence
from handler.engine.vocabulary import Vocabulary
from handler.errors import BadRequest
from handler.schema import CompletionRequest

MAX_CHARS_PER_TOKEN = 64  # a longer text can not fit: so much is never tokenised in vain
# Texts of one request that are tokenised, in bytes of UTF-8: everybody's next step waits for it.
MAX_PROMPT_BYTES = 131_072
# Values in one reply, at some 45 bytes each: TorchServe drops a worker, and everybody's streams,
# for a reply beyond max_response_size, which is 6.5 MB where nobody raised it.
MAX_LOGPROB_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """The sequences of a request and, per prompt, its text and its number of tokens."""

    sequences: list[Sequence]
    prompt_texts: list[str]
    prompt_lengths: list[int]


@dataclass(frozen=True, slots=True)
class Preparer:
    """Knows the model's vocabulary, context and defaults."""

    vocabulary: Vocabulary
    facts: ArchiveFacts
    defaults: Defaults
    max_sequences: int
    deadline_seconds: float

    def prepare(self, request_id: str, request: CompletionRequest) -> Prepared:
        """Turn a request into sequences.

        Raises:
            BadRequest: A prompt is too long, a token id does not exist, or it asks for too much.
        """
        self._bound_text(request)
        given = request.max_tokens
        max_tokens = self.defaults.max_tokens if given is None else given
        prompts = [self._tokens(prompt, request, max_tokens) for prompt in _prompts(request)]
        n = request.n or 1
        if len(prompts) * n > self.max_sequences:
            raise BadRequest(
                f"`n` times the number of prompts is {len(prompts) * n}; "
                f"at most {self.max_sequences} texts may be asked for at once",
                param="n",
                code="too_many_texts",
            )
        self._bound_logprobs(request, [len(prompt) for prompt in prompts], max_tokens)
        seed = secrets.randbits(63) if request.seed is None else request.seed
        deadline = time.monotonic() + self.deadline_seconds
        sequences = []
        for number, prompt in enumerate(prompts):
            room = min(max_tokens, self.facts.context_length - len(prompt))
            for sample_index in range(n):
                sequence = Sequence(
                    request_id,
                    number * n + sample_index,
                    np.array(prompt, np.int64),
                    self._options(request, room, seed, sample_index),
                    self.vocabulary,
                    end_tokens=self.facts.end_tokens,
                    deadline=deadline,
                )
                sequences.append(sequence)
        echoed = prompts if request.echo else [[] for _ in prompts]
        texts = [
            self.vocabulary.decode(prompt, skip_special_tokens=request.skip_special_tokens)
            for prompt in echoed
        ]
        return Prepared(sequences, texts, [len(prompt) for prompt in prompts])

    def _tokens(
        self, prompt: str | list[int], request: CompletionRequest, max_tokens: int
    ) -> list[int]:
        context = self.facts.context_length
        # One position at least is left to write into, unless the prompt is only to be scored.
        most = context - (1 if max_tokens else 0)
        if isinstance(prompt, str):
            tokens = self._encode(prompt, request, most)
        else:
            tokens = prompt
            wrong = next((t for t in tokens if t >= self.facts.vocab_size), None)
            if wrong is not None:
                raise BadRequest(
                    f"`prompt` holds the token id {wrong}; the model's ids go from 0 to "
                    f"{self.facts.vocab_size - 1}",
                    param="prompt",
                    code="unknown_token",
                )
        if not tokens:
            return [self.facts.bos_token]
        if request.truncate_prompt:
            keep = context - min(max_tokens, context // 2)
            return self.vocabulary.keep_end(tokens, keep)
        if len(tokens) > most:
            raise BadRequest(
                f"`prompt` has {len(tokens)} tokens; the model takes at most {most} of its "
                f"{context}. Shorten it, or send `truncate_prompt`: true to keep its end",
                param="prompt",
                code="context_length_exceeded",
            )
        return tokens

    def _encode(self, prompt: str, request: CompletionRequest, most: int) -> list[int]:
        longest = self.facts.context_length * MAX_CHARS_PER_TOKEN
        if len(prompt) > longest:
            if not request.truncate_prompt:
                raise BadRequest(
                    f"`prompt` has {len(prompt)} characters, far more than fit: the model takes at "
                    f"most {most} of its {self.facts.context_length} tokens. Shorten it, or send "
                    "`truncate_prompt`: true to keep its end",
                    param="prompt",
                    code="context_length_exceeded",
                )
            prompt = prompt[-longest:]
        tokens = self.vocabulary.encode(
            prompt, add_special_tokens=request.add_special_tokens is not False
        )
        wrong = next((t for t in tokens if t >= self.facts.vocab_size), None)
        if wrong is not None:
            raise BadRequest(
                f"`prompt` holds {self.vocabulary.symbol(wrong)!r}, a token ({wrong}) of the "
                f"tokenizer that the model does not have: its ids go from 0 to "
                f"{self.facts.vocab_size - 1}",
                param="prompt",
                code="unknown_token",
            )
        return tokens

    def _bound_text(self, request: CompletionRequest) -> None:
        """Refuse more text than may be tokenised; of a long prompt only so much is ever read."""
        longest = self.facts.context_length * MAX_CHARS_PER_TOKEN
        texts = [prompt for prompt in _prompts(request) if isinstance(prompt, str)]
        size = sum(len(text[-longest:].encode("utf-8")) for text in texts)
        if len(texts) > 1 and size > MAX_PROMPT_BYTES:
            raise BadRequest(
                f"`prompt` holds {size} bytes of text in all; at most {MAX_PROMPT_BYTES} are read "
                "for one request",
                param="prompt",
                code="prompts_too_long",
            )

    def _bound_logprobs(
        self, request: CompletionRequest, prompt_lengths: list[int], max_tokens: int
    ) -> None:
        if request.logprobs is None:
            return
        context = self.facts.context_length
        positions = sum(min(max_tokens, context - length) for length in prompt_lengths)
        positions += sum(prompt_lengths) if request.echo else 0
        entries = positions * (request.n or 1) * (request.logprobs + 1)
        if entries > MAX_LOGPROB_ENTRIES:
            raise BadRequest(
                f"`logprobs` for so many tokens and texts would be {entries} values; "
                f"at most {MAX_LOGPROB_ENTRIES} fit a reply",
                param="logprobs",
                code="too_many_logprobs",
            )

    def _options(
        self, request: CompletionRequest, max_tokens: int, seed: int, sample_index: int
    ) -> SamplingOptions:
        bias = request.logit_bias or {}
        unknown = next((t for t in bias if int(t) >= self.facts.vocab_size), None)
        if unknown is not None:
            raise BadRequest(
                f"`logit_bias` names the token id {unknown}; the model's ids go from 0 to "
                f"{self.facts.vocab_size - 1}",
                param="logit_bias",
                code="unknown_token",
            )
        defaults = self.defaults
        return SamplingOptions(
            max_tokens=max_tokens,
            seed=seed,
            sample_index=sample_index,
            temperature=_or(request.temperature, defaults.temperature),
            top_k=int(_or(request.top_k, defaults.top_k)),
            top_p=_or(request.top_p, defaults.top_p),
            min_p=_or(request.min_p, defaults.min_p),
            repetition_penalty=_or(request.repetition_penalty, defaults.repetition_penalty),
            presence_penalty=request.presence_penalty or 0.0,
            frequency_penalty=request.frequency_penalty or 0.0,
            logit_bias=tuple((int(token), value) for token, value in bias.items()),
            stop=tuple(request.stop or ()),
            ignore_eos=bool(request.ignore_eos),
            skip_special_tokens=request.skip_special_tokens,
            logprobs=request.logprobs,
            prompt_logprobs=bool(request.echo and request.logprobs is not None),
        )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _prompts(request: CompletionRequest) -> list[str | list[int]]:
    """The prompts of a request, one by one."""
    prompt = request.prompt
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt[0], int):
        return list(prompt)
    return [prompt]

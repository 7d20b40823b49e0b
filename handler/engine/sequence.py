"""One sequence: its tokens, its options, its characters so far, why it ended."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from handler.engine.options import SamplingOptions
from handler.engine.output import FAILED, NOTHING_ALLOWED, Output
from handler.engine.pooling import Pool
from handler.engine.sampling_state import SamplingState
from handler.engine.step import (
    NOT_FINITE,
    Answer,
    Draw,
    Embed,
    Score,
    TokenLogprob,
)
from handler.engine.stops import StopMatcher
from handler.engine.transcript import Transcript
from handler.engine.vocabulary import Vocabulary

NOTHING_LEFT = (
    "no token may come next: the logits are not finite, or `allowed_token_ids`, `bad_words`, "
    "`min_tokens` and the grammar leave none"
)
NOT_IN_TIME = "the texts were not embedded in time; send fewer or shorter ones"


class Sequence:
    """A prompt and its completion. `index` numbers those of one request."""

    def __init__(
        self,
        request_id: str,
        index: int,
        prompt: npt.NDArray[np.integer],
        options: SamplingOptions,
        vocabulary: Vocabulary,
        *,
        end_tokens: frozenset[int],
        deadline: float = float("inf"),
        is_streamed: bool = True,
    ) -> None:
        """Begin a sequence.

        Args:
            request_id: Of the request that it belongs to.
            index: Its number in that request.
            prompt: Token ids, [tokens].
            options: How it is generated.
            vocabulary: The tokenizer's.
            end_tokens: Tokens that end it.
            deadline: When it ends at the latest, in seconds of the monotonic clock.
            is_streamed: Whether its first token is waited for, and not its end alone.
        """
        self.request_id = request_id
        self.index = index
        self.options = options
        self.end_tokens = frozenset() if options.ignore_eos else end_tokens
        self.deadline = deadline
        self.submitted_at = self.admitted_at = time.monotonic()
        self.is_finished = False
        self.is_streamed = is_streamed
        self.slot = -1
        self.num_computed = 0
        self.num_cached = 0
        self.generated: list[int] = []
        self.prompt_logprobs: list[TokenLogprob | None] = [None]
        self.pool = Pool(options.pooling) if options.pooling else None
        self._tokens = np.empty(len(prompt) + options.max_tokens, np.int32)
        self._tokens[: len(prompt)] = prompt
        self._prompt_length = len(prompt)
        detokenizer = vocabulary.detokenizer(options.skip_special_tokens, after=prompt.tolist())
        ends = self.end_tokens | options.stop_tokens
        self._sampling = SamplingState(prompt, options, ends, is_first=detokenizer.is_first)
        self._transcript = Transcript(
            detokenizer, StopMatcher(options.stop, includes_stop=options.includes_stop)
        )
        self._has_begun = False
        self._is_scored = False

    @property
    def reads_all(self) -> bool:
        """Whether each position of the prompt has to be computed for it, known or not."""
        return self.options.reads_all and not self._is_scored

    def inherit_scores(self, other: Sequence) -> None:
        """Take over what a sequence with the same prompt, which is computed first, learns of it."""
        self.prompt_logprobs = other.prompt_logprobs
        self._is_scored = True

    def resume(self, tokens: list[int], shown: int | None) -> None:
        """Go on behind tokens that were generated before, elsewhere, and sent.

        Args:
            tokens: All of them count: for penalties, random numbers, stop strings and bounds.
            shown: Characters that were sent; None: what these tokens show.
        """
        # Its prompt was scored then.
        self.options = replace(self.options, prompt_logprobs=False)
        for token in tokens:
            self._add(token)
            self._transcript.replay(token)
        if shown is not None:
            self._transcript.skip_until(shown)

    @property
    def prompt(self) -> npt.NDArray[np.int32]:
        """Its prompt, int32 [tokens]."""
        return self._tokens[: self._prompt_length]

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """The prompt and what was generated after it, int32; a view that stays as it is."""
        return self._tokens[: self._prompt_length + len(self.generated)]

    @property
    def num_uncomputed(self) -> int:
        """Tokens whose keys and values have not been computed: at least one until it ends."""
        return self._prompt_length + len(self.generated) - self.num_computed

    @property
    def max_length(self) -> int:
        """Most tokens the cache will ever hold for it."""
        return self._prompt_length + self.options.max_tokens

    @property
    def token_cost(self) -> int:
        """What a token of its prompt costs, in tokens of which nothing is asked.

        One that is scored needs the head besides, which takes about as long again, and so does the
        search for the likeliest tokens.
        """
        if not self.options.prompt_logprobs or self._is_scored:
            return 1
        return 4 if self.options.prompt_top else 2

    def asks(self, start: int, count: int, row: int) -> list[Score] | list[Embed]:
        """What is asked of `count` positions from `start`, of which the first is a step's `row`."""
        if self.pool is not None:
            return self.pool.asks(row, count, ends=start + count == self._prompt_length)
        if not self.options.prompt_logprobs or self._is_scored:
            return []
        top = self.options.prompt_top
        following = self.prompt[start + 1 : start + count + 1].tolist()
        return [Score(row + i, token, top) for i, token in enumerate(following)]

    def add(self, answer: Answer) -> None:
        """Take what came of one of `asks`."""
        if self.pool is None:
            self.prompt_logprobs.append(answer.logprob)
        elif answer.hidden is not None:
            self.pool.add(answer.hidden)

    def draw(self, row: int) -> Draw | None:
        """Ask for the token after the newest, whose logits are those of a step's `row`."""
        if not self.options.max_tokens:
            return None
        return self._sampling.draw(row, self.generated)

    @property
    def num_foreseeable(self) -> int:
        """How many tokens can be drawn, one after the other, before any of them has to be seen.

        At least one. Tokens that end it may be among them.
        """
        return self._sampling.num_foreseeable(len(self.generated))

    def uniforms(self, count: int) -> npt.NDArray[np.float64]:
        """The random numbers of its next `count` tokens, float64 [count]."""
        return self._sampling.uniforms(count)

    def take(self, answer: Answer | None) -> Output:
        """Take the next token, if one was asked for; with the first comes what is reported once.

        Raises:
            FloatingPointError: The model's logits are no numbers.
        """
        if self.options.prompt_logprobs and None in self.prompt_logprobs[1:]:
            raise FloatingPointError("the model's logits are not finite")
        output = self._end_unwritten() if answer is None else self._take(answer)
        if self._has_begun:
            return output
        self._has_begun = True
        output.is_urgent |= self.is_streamed
        output.queue_seconds = self.admitted_at - self.submitted_at
        output.admitted_at = self.admitted_at
        if self.options.prompt_logprobs:
            output.prompt_logprobs = self.prompt_logprobs
        return output

    def _end_unwritten(self) -> Output:
        """End it where no token was asked for."""
        if self.pool is None:
            return self.end("length")
        output = self.end("stop")
        output.vector = self.pool.vector()
        return output

    def _take(self, answer: Answer) -> Output:
        if answer.token == NOT_FINITE:
            if self._sampling.is_restricted:
                return self.fail(NOTHING_LEFT, NOTHING_ALLOWED)
            raise FloatingPointError("the model's logits are not finite")
        if answer.token < 0:
            raise FloatingPointError("a token or an option of the request is out of range")
        return self._append(answer.token, answer.logprob)

    def _append(self, token: int, logprob: TokenLogprob | None) -> Output:
        self._add(token)
        output = self.output()
        output.token = token
        if logprob is not None:
            output.logprob = logprob.logprob
            if self.options.logprobs is not None:
                self._transcript.note(logprob, token)
        ended = token in self._sampling.ends
        if ended and not self._shows_end(token):
            return self._finish(output, "stop")
        output.text, stopped = self._transcript.push(token)
        if stopped:
            return self._finish(output, "stop", cut=True)
        if ended or self._sampling.is_complete(len(self.generated)):
            return self._finish(output, "stop")
        if len(self.generated) >= self.options.max_tokens:
            return self._finish(output, "length")
        self._transcript.show(output)
        return output

    def _shows_end(self, token: int) -> bool:
        """Whether the token that ends it is part of its text."""
        if token in self.options.stop_tokens:
            return self.options.includes_stop
        return self.options.skip_special_tokens is False and not self._sampling.has_grammar

    def _add(self, token: int) -> None:
        self._tokens[self._prompt_length + len(self.generated)] = token
        self.generated.append(token)
        self._sampling.add(token)

    def expire(self) -> Output:
        """End it at its deadline."""
        return self.end("length") if self.pool is None else self.fail(NOT_IN_TIME)

    def end(self, finish_reason: str) -> Output:
        """End it here (deadline, nothing to write)."""
        return self._finish(self.output(), finish_reason)

    def fail(self, message: str, kind: str = FAILED) -> Output:
        """End it with an error."""
        self.is_finished = True
        output = self.output()
        output.is_urgent = True
        output.error, output.error_kind = message, kind
        return output

    def output(self) -> Output:
        """An output of this sequence with nothing in it yet."""
        return Output(self.request_id, self.index, cached_tokens=self.num_cached)

    def _finish(self, output: Output, reason: str, *, cut: bool = False) -> Output:
        self.is_finished = True
        output.is_urgent = True
        output.finish_reason = reason
        self._transcript.finish(output, cut=cut)
        return output

"""One text being written: its tokens, its options, its characters so far, why it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from handler.engine.options import SamplingOptions
from handler.engine.sampler import (
    Row,
    Sampler,
    TokenHistory,
    TokenLogprob,
    random_stream,
)
from handler.engine.stops import StopMatcher
from handler.engine.vocabulary import Vocabulary


class Status(Enum):
    """Where a sequence stands."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class LogprobEntry:
    """A token's log probability and where in the written text the token begins (characters)."""

    logprob: TokenLogprob | None
    token: int
    text_offset: int


@dataclass(slots=True)
class Output:
    """What one step added to one sequence."""

    request_id: str
    index: int
    text: str = ""
    token: int | None = None
    logprob: float | None = None  # of the token, where they are asked for
    logprobs: list[LogprobEntry] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprob | None] | None = None
    finish_reason: str | None = None
    error: str | None = None
    cached_tokens: int = 0
    queue_seconds: float = 0.0

    @property
    def num_tokens(self) -> int:
        """Tokens that were written: one at most."""
        return int(self.token is not None)

    @property
    def is_last(self) -> bool:
        """Whether the sequence has ended."""
        return self.finish_reason is not None or self.error is not None


class Sequence:
    """A prompt and the text that follows it. `index` tells the texts of one request apart."""

    def __init__(
        self,
        request_id: str,
        index: int,
        prompt: npt.NDArray[np.int64],
        options: SamplingOptions,
        vocabulary: Vocabulary,
        *,
        end_tokens: frozenset[int],
        deadline: float = float("inf"),
    ) -> None:
        self.request_id = request_id
        self.index = index
        self.prompt = prompt
        self.options = options
        self.end_tokens = frozenset() if options.ignore_eos else end_tokens
        self.deadline = deadline
        self.submitted_at = self.admitted_at = time.monotonic()
        self.status = Status.WAITING
        self.slot = -1
        self.num_prefilled = 0
        self.num_cached = 0
        self.generated: list[int] = []
        self.prompt_logprobs: list[TokenLogprob | None] = [None]
        self._random = random_stream(options.seed, options.sample_index)
        self._history = TokenHistory(prompt, options.max_tokens) if options.penalizes else None
        self._detokenizer = vocabulary.detokenizer(
            options.skip_special_tokens, after=prompt.tolist()
        )
        self._stops = StopMatcher(options.stop)
        self._num_written = 0
        self._num_shown = 0
        self._entries: list[LogprobEntry] = []

    @property
    def num_generated(self) -> int:
        """Tokens written so far."""
        return len(self.generated)

    @property
    def last_token(self) -> int:
        """The newest of them."""
        return self.generated[-1]

    @property
    def tokens(self) -> npt.NDArray[np.int64]:
        """The prompt and what was written after it, int64."""
        return np.concatenate([self.prompt, np.array(self.generated, np.int64)])

    @property
    def length(self) -> int:
        """Tokens whose keys and values the cache holds or will hold before the next step."""
        return len(self.prompt) + max(self.num_generated - 1, 0)

    @property
    def max_length(self) -> int:
        """Most tokens the cache will ever hold for it."""
        return len(self.prompt) + self.options.max_tokens

    def append_from(self, logits: Row, sampler: Sampler) -> Output:
        """Sample the next token from its logits, float32 [vocab], and write its text.

        Raises:
            FloatingPointError: the logits are no numbers.
        """
        options = self.options
        forbidden = self.end_tokens if self.num_generated < options.min_tokens else ()
        uniform = self._random.random()
        token = sampler.choose(logits, options, self._history, forbidden, uniform)
        entry = None
        if options.logprobs is not None or options.ranked:
            entry = sampler.logprob(logits, token, options.logprobs or 0)
        return self._append(token, entry)

    def _append(self, token: int, logprob: TokenLogprob | None) -> Output:
        self.generated.append(token)
        if self._history is not None:
            self._history.append(token)
        output = self.output()
        output.token = token
        if logprob is not None:
            output.logprob = logprob.logprob
            if self.options.logprobs is not None:
                self._entries.append(LogprobEntry(logprob, token, self._num_written))
        ended = token in self.end_tokens
        if ended and self.options.skip_special_tokens is not False:
            return self._finish(output, "stop")
        text = self._detokenizer.push(token)
        self._num_written += len(text)
        shown, stopped = self._stops.push(text)
        output.text = shown
        if stopped:
            return self._finish(output, "stop", cut=True)
        if ended:
            return self._finish(output, "stop")
        if self.num_generated >= self.options.max_tokens:
            return self._finish(output, "length")
        self._show(output)
        return output

    def end(self, finish_reason: str) -> Output:
        """End it here (deadline, nothing to write)."""
        return self._finish(self.output(), finish_reason)

    def fail(self, message: str) -> Output:
        """End it with an error."""
        self.status = Status.FINISHED
        output = self.output()
        output.error = message
        return output

    def output(self) -> Output:
        """An output of this sequence with nothing in it yet."""
        return Output(self.request_id, self.index, cached_tokens=self.num_cached)

    def _finish(self, output: Output, reason: str, *, cut: bool = False) -> Output:
        self.status = Status.FINISHED
        output.finish_reason = reason
        if not cut:
            rest, stopped = self._stops.push(self._detokenizer.finish())
            output.text += rest
            if not stopped:
                output.text += self._stops.finish()
        self._num_shown += len(output.text)
        # Every token that is counted has its entry; one without text of its own lies at the end.
        output.logprobs = [
            LogprobEntry(e.logprob, e.token, min(e.text_offset, self._num_shown))
            for e in self._entries
        ]
        return output

    def _show(self, output: Output) -> None:
        """Move the log probabilities of tokens whose text begins in what is shown so far."""
        self._num_shown += len(output.text)
        ready = [e for e in self._entries if e.text_offset < self._num_shown]
        output.logprobs = ready
        self._entries = self._entries[len(ready) :]

"""A streamed completion, continued elsewhere if its connection breaks. Knows no routes.

The same model, request and seed give the same text on every instance, so a stream that broke is
asked for again and what came before is skipped. It is never spliced from two completions: another
model's answer (by its digest) or another text is not gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from gpt2_client import sse
from gpt2_client.errors import ClientError, ServerError, StreamBroken, Unreachable
from gpt2_client.results import Event, FinishEvent, Logprobs, TextEvent
from gpt2_client.retry import Retry

# Errors in mid-stream that concern the instance, not the request.
INSTANCE_LOST = ("worker_lost", "stalled", "drained", "removed")


class AnotherText(StreamBroken):
    """What came when the stream was asked for again is not what came before."""

    def __init__(self) -> None:
        super().__init__("the stream broke, and repeating the request gave a different completion")


@dataclass
class Attempt:
    """One answer to the request: its bytes, and which model writes them, if that is known."""

    chunks: Generator[bytes, None, None]
    model: str | None


class Stream:
    """The events of one text while it is written. Leaving it early stops the writing."""

    def __init__(self, ask: Callable[[], Attempt], retry: Retry) -> None:
        self._source = _Source(ask, ask(), retry)
        self._events = _events_of(self._source)

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up: the server notices and frees the slot."""
        self._events.close()
        self._source.now.chunks.close()


@dataclass
class _Source:
    ask: Callable[[], Attempt]
    now: Attempt
    retry: Retry


def _events_of(source: _Source) -> Generator[Event, None, None]:
    # No method of Stream: a stream that is merely dropped must be freed, and hung up, at once.
    written = Written()
    breaks = 0  # since the last event that was new
    while True:
        try:
            for event in sse.events(source.now.chunks):
                for new in written.beyond(event):
                    breaks = 0
                    yield new
            return
        except AnotherText:
            raise
        except (Unreachable, StreamBroken, ServerError) as error:
            if isinstance(error, ServerError) and error.code not in INSTANCE_LOST:
                raise
            _take_up(source, error, breaks)
        written.begin_again()
        breaks += 1


def _take_up(source: _Source, broke: ClientError, breaks: int) -> None:
    """Ask for the text again, until the model that began it answers.

    Raises:
        ClientError: What broke it, or why it cannot be taken up.
    """
    source.now.chunks.close()
    model = source.now.model
    while True:
        wait = source.retry.wait(breaks, None) if model else None
        if wait is None:
            if isinstance(broke, Unreachable):
                message = "the connection broke before the text was complete"
                raise StreamBroken(message) from broke
            raise broke
        source.retry.sleep(wait)
        try:
            source.now = source.ask()
        except ClientError as error:
            raise StreamBroken(f"the stream broke and could not be continued: {error}") from error
        if source.now.model == model:
            return
        source.now.chunks.close()
        broke = StreamBroken(
            "the stream broke, and a different model answered the repeated request"
        )
        breaks += 1


class Written:
    """What was handed out of each choice, against which a further answer is held."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}

    def begin_again(self) -> None:
        """The text comes from its beginning once more."""
        for choice in self._choices.values():
            choice.read = choice.tokens_read = 0

    def beyond(self, event: Event) -> Iterator[Event]:
        """Yield what is new in an event.

        Raises:
            AnotherText: It says something else than what was handed out.
        """
        if isinstance(event, TextEvent):
            yield from self._choice(event.index).beyond(event)
        elif isinstance(event, FinishEvent):
            choice = self._choice(event.index)
            if choice.read < len(choice.text) or choice.reason not in (None, event.reason):
                raise AnotherText()
            if choice.reason is None:
                choice.reason = event.reason
                yield event
        else:
            yield event

    def _choice(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice())


@dataclass
class _Choice:
    """One choice: what was handed out of it, and how far the present answer has come."""

    text: str = ""
    tokens: int = 0  # with log probabilities
    reason: str | None = None
    read: int = 0
    tokens_read: int = 0

    def beyond(self, event: TextEvent) -> Iterator[TextEvent]:
        known = self.text[self.read : self.read + len(event.text)]
        count = len(event.logprobs.tokens) if event.logprobs else 0
        skipped = min(count, self.tokens - self.tokens_read)
        if not event.text.startswith(known) or (self.reason and len(known) < len(event.text)):
            raise AnotherText()
        text = event.text[len(known) :]
        self.text += text
        self.read += len(event.text)
        self.tokens_read += count
        self.tokens = max(self.tokens, self.tokens_read)
        if not known and not skipped:
            yield event
        elif text or skipped < count:
            yield TextEvent(event.index, text, _without(event.logprobs, skipped))


def _without(logprobs: Logprobs | None, count: int) -> Logprobs | None:
    """Log probabilities without those of the first so many tokens; none if none are left."""
    if logprobs is None or count >= len(logprobs.tokens):
        return None
    return Logprobs(
        logprobs.tokens[count:],
        logprobs.token_logprobs[count:],
        logprobs.top_logprobs[count:],
        logprobs.text_offset[count:],
    )

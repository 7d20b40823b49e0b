"""A sequence's text as its tokens come: what can be shown, and which log probabilities with it."""

from __future__ import annotations

from handler.engine.detokenizer import Detokenizer
from handler.engine.output import LogprobEntry, Output
from handler.engine.step import TokenLogprob
from handler.engine.stops import StopMatcher


class Transcript:
    """Holds back what may become a stop string, and what a resumed client has already."""

    def __init__(self, detokenizer: Detokenizer, stops: StopMatcher) -> None:
        self._detokenizer = detokenizer
        self._stops = stops
        self._num_written = 0
        self._num_shown = 0
        self._num_to_skip = 0  # characters that were shown before the sequence was resumed
        self._entries: list[LogprobEntry] = []

    def note(self, logprob: TokenLogprob, token: int) -> None:
        """Keep the log probability of a token that is pushed next, if it is."""
        self._entries.append(LogprobEntry(logprob, token, self._num_written))

    def push(self, token: int) -> tuple[str, bool]:
        """The text that a token lets be shown, and whether a stop string ends there."""
        text = self._detokenizer.push(token)
        self._num_written += len(text)
        return self._stops.push(text)

    def replay(self, token: int) -> None:
        """Take a token whose text was shown before."""
        self._num_shown += len(self.push(token)[0])

    def skip_until(self, shown: int) -> None:
        """Leave out of what is shown what a client has: `shown` characters of the text."""
        self._num_to_skip = max(0, shown - self._num_shown)

    def show(self, output: Output) -> None:
        """Move the log probabilities of tokens whose text begins in what is shown so far."""
        self._num_shown += len(output.text)
        ready = [e for e in self._entries if e.text_offset < self._num_shown]
        output.logprobs = ready
        self._entries = self._entries[len(ready) :]
        output.text = self._unsent(output.text)

    def finish(self, output: Output, *, cut: bool) -> None:
        """Show all that is left: of the text, unless it was `cut` at a stop string, and of them."""
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
        output.text = self._unsent(output.text)

    def _unsent(self, text: str) -> str:
        """What of a text was not sent before the sequence was resumed."""
        skipped = min(self._num_to_skip, len(text))
        self._num_to_skip -= skipped
        return text[skipped:]

"""A completion as Server-Sent Events, each with the tokens that came since the one before."""

from __future__ import annotations

from typing import Any

from handler.content.json_text import to_json, to_json_in_chunks
from handler.engine.output import Output
from handler.engine.vocabulary import Vocabulary
from handler.replies import sideband
from handler.replies.error_replies import error_body
from handler.replies.pending_reply import last_frame
from handler.replies.reply import Reply, ReplyHead
from handler.requests.prepare import Prepared
from handler.requests.resume import Resume, ResumedChoice
from handler.requests.schema import StreamOptions

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = "data: [DONE]\n\n"


class StreamReply(Reply):
    """Every event is `data: ...` and a blank line, nothing else; `framed` for the gateway alone."""

    streams = True

    def __init__(
        self,
        head: ReplyHead,
        prepared: Prepared,
        vocabulary: Vocabulary,
        options: StreamOptions | None,
        *,
        framed: bool = False,
        resume: Resume | None = None,
    ) -> None:
        super().__init__(head, prepared, vocabulary)
        self.content_type = sideband.CONTENT_TYPE if framed else CONTENT_TYPE
        self._with_usage = bool(options and options.include_usage)
        self._with_counts = self._with_usage and bool(options and options.continuous_usage_stats)
        # What all events begin and end with, encoded once.
        self._opening = to_json(head.event([])).removesuffix("]}")
        self._closing = '],"usage":null}' if self._with_usage else "]}"
        self._begun = [False] * len(prepared.sequences)
        self._events: list[str] = []
        self._framed = framed
        # What came since the last chunk, by choice.
        self._new: dict[int, list[Output]] = {}
        # Written since the choice's frame before.
        self._tokens: list[list[int]] = [[] for _ in prepared.sequences]
        self._shown = [0] * len(prepared.sequences)
        self._start = _first_fields(head, prepared) if framed and not resume else ""
        for index, choice in resume.choices.items() if resume else ():
            self._go_on(index, choice)

    def _go_on(self, index: int, choice: ResumedChoice) -> None:
        """Count what was sent of a choice before the stream was resumed."""
        self._begun[index] = True
        self._seen.add(index)
        self._shown[index] = choice.shown or 0
        self.finish_reasons[index] = choice.finish_reason
        self.completion_tokens += len(choice.tokens)
        if index % self._sequences_per_prompt == 0:
            self._cached_tokens += choice.cached_tokens

    def take_chunk(self) -> str:
        """See `Reply.take_chunk`."""
        self._take_waiting()
        self._write_events()
        events, self._events = "".join(self._events), []
        return events

    def take_end(self) -> str:
        """See `Reply.take_end`."""
        self._take_waiting()
        self._write_events()
        if self.error is not None:
            self._last_event(to_json(error_body(self.error)))
        elif self._with_usage:
            self._last_event(to_json(self.head.event([], self.usage)))
        self._last_event("[DONE]")
        return self.take_chunk()

    def _begins(self, index: int) -> bool:
        return not self._begun[index]

    def _take(self, output: Output) -> None:
        self._new.setdefault(output.index, []).append(output)

    def _write_events(self) -> None:
        """Write an event for each choice that has something new to show."""
        new, self._new = self._new, {}
        for index, outputs in new.items():
            choice = self._choice(outputs)
            if self._with_logprobs:
                self._tokens[index] += [entry.token for o in outputs for entry in o.logprobs]
                self._shown[index] += sum(len(o.text) for o in outputs)
            else:
                self._tokens[index] += [o.token for o in outputs if o.token is not None]
            begins = self._begins(index)
            cached = outputs[0].cached_tokens if begins else None
            self._begun[index] = True
            has_logprobs = any((choice["logprobs"] or {}).values())
            if choice["text"] or choice["finish_reason"] or has_logprobs:
                if self._framed:
                    self._events.append(self._frame(index, choice["finish_reason"], cached))
                closing = self._closing
                if self._with_counts:
                    closing = f'],"usage":{to_json(self.usage)}}}'
                write = to_json_in_chunks if begins and self._echoes_logprobs else to_json
                shown = write(self.head.event_choice(choice, begins=begins))
                self._events.append(f"data: {self._opening}{shown}{closing}\n\n")

    def _frame(self, index: int, finish_reason: str | None, cached: int | None) -> str:
        tokens, self._tokens[index] = self._tokens[index], []
        sample = index % self._sequences_per_prompt
        more = f',"shown":{self._shown[index]}' if self._with_logprobs else ""
        more += f',"cached":{cached}' if cached else ""
        fields = sideband.of_choice(index, sample, tokens, finish_reason, more)
        start, self._start = self._start, ""
        return sideband.frame(start + fields)

    def _last_event(self, data: str, *, ends: bool = False) -> None:
        """Add an event after which no text comes; `ends` where `[DONE]` does not either."""
        if self._framed:
            self._events.append(last_frame(self, ends=ends))
        self._events.append(f"data: {data}\n\n")


def _first_fields(head: ReplyHead, prepared: Prepared) -> str:
    """What the first frame of a stream reports besides."""
    cut: dict[str, Any] = {
        str(number): prompt.tokens
        for number, prompt in enumerate(prepared.prompts)
        if prompt.truncated_tokens or prompt.unread_characters
    }
    known = {"id": head.id, "created": head.created, "seed": prepared.seed, "cut_prompts": cut}
    return sideband.fields(known) + ","

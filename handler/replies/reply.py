"""Builds a reply from the engine's outputs; the one JSON body of most requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from handler.content.json_text import to_json, to_json_in_chunks
from handler.engine import output as engine
from handler.engine.output import Output
from handler.engine.sequence import Sequence
from handler.engine.vocabulary import Vocabulary
from handler.errors import (
    INVALID_GRAMMAR,
    NOTHING_ALLOWED,
    BadRequest,
    EngineFailure,
    RequestError,
)
from handler.older_pythons import SLOTS
from handler.replies import sideband
from handler.replies.error_replies import error_body
from handler.replies.logprobs import LogprobWriter
from handler.replies.pending_reply import Json, last_frame
from handler.replies.progress import Progress, usage_of
from handler.replies.timings import Timings
from handler.requests.prepare import Prepared


@dataclass(frozen=True)
class ReplyHead:
    """What every part of a reply begins with, and the shape that its choices take."""

    prefix: ClassVar[str] = "cmpl-"
    whole_object: ClassVar[str] = "text_completion"
    event_object: ClassVar[str] = "text_completion"
    writer: ClassVar[type[Any]] = LogprobWriter

    id: str
    created: int
    model: str

    def completion(self, choices: list[Json], usage: Json | None = None) -> Json:
        """The object of a whole reply."""
        return self._object(self.whole_object, choices, usage)

    def event(self, choices: list[Json], usage: Json | None = None) -> Json:
        """The object of one event of a stream."""
        return self._object(self.event_object, choices, usage)

    def whole_choice(self, choice: Json) -> Json:
        """A choice as a whole reply shows it."""
        return choice

    def event_choice(self, choice: Json, *, begins: bool) -> Json:
        """What an event shows of a choice; `begins` in the first one of it."""
        return choice

    def _object(self, name: str, choices: list[Json], usage: Json | None) -> Json:
        body: Json = {
            "id": self.id,
            "object": name,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        return body if usage is None else body | {"usage": usage}


@dataclass(frozen=True, **SLOTS)
class WholeReply:
    """A reply that is complete at once."""

    body: str
    status: int = 200
    reason: str = "OK"
    content_type: str = "application/json"
    ignored_fields: str = ""


class Reply(Progress):
    """One request on its way: takes outputs in, hands out what can be sent.

    A choice's parts are added up by `_choice`; subclasses say how they travel.
    """

    content_type = "application/json"
    streams = False

    def __init__(self, head: ReplyHead, prepared: Prepared, vocabulary: Vocabulary) -> None:
        super().__init__(len(prepared.sequences))
        self.head = head
        self.timings = Timings()
        # Names for the header, see `handler.ignored`.
        self.ignored_fields = ""
        self.completion_tokens = 0
        self._cached_tokens = 0
        self._seen: set[int] = set()
        self.prepared = prepared
        self._sequences_per_prompt = prepared.sequences_per_prompt
        sequences = prepared.sequences
        self._with_logprobs = sequences[0].options.logprobs is not None
        self._top = sequences[0].options.logprobs or 0
        self._echoes_logprobs = self._with_logprobs and prepared.echoes
        # Taken in, and not yet written out: of log probabilities there may be many.
        self._waiting: list[Output] = []
        self._writers = [head.writer(vocabulary, prompt) for prompt in prepared.prompts]

    @property
    def usage(self) -> Json:
        """Token counts so far."""
        return usage_of(self.prepared.prompts, self.completion_tokens, self._cached_tokens)

    def add(self, output: Output) -> None:
        """Take in what one step gave."""
        self.timings.note(output)
        if output.error is not None:
            self.error = _failure(output.error, output.error_kind)
            return
        self.completion_tokens += output.token is not None
        self.finish_reasons[output.index] = output.finish_reason
        # The first sequence of each prompt says how much was cached; the others are forked from it.
        if output.index % self._sequences_per_prompt == 0 and output.index not in self._seen:
            self._cached_tokens += output.cached_tokens
        self._seen.add(output.index)
        has_logprobs = self._with_logprobs or self.prepared.prompt_logprobs is not None
        is_long = has_logprobs and (not self.streams or output.prompt_logprobs is not None)
        if is_long or self._waiting:
            self._waiting.append(output)
        else:
            self._take(output)

    @property
    def sequences(self) -> list[Sequence]:
        """Its sequences, as the engine is to generate them."""
        return [each for each in self.prepared.sequences if not each.is_finished]

    @property
    def tokens_waiting(self) -> int:
        """Tokens whose log probabilities are to be written out with what is sent next."""
        return sum(
            len(output.logprobs) + len(output.prompt_logprobs or ()) for output in self._waiting
        )

    def _take_waiting(self) -> None:
        """Write out what was taken in."""
        waiting, self._waiting = self._waiting, []
        for output in waiting:
            self._take(output)

    def take_chunk(self) -> str:
        """What can be sent now; may be empty."""
        raise NotImplementedError

    def take_end(self) -> str:
        """What closes the reply."""
        raise NotImplementedError

    def _take(self, output: Output) -> None:
        raise NotImplementedError

    def _choice(self, outputs: list[Output]) -> Json:
        """The choice object of outputs of one sequence: the echoed prompt comes with its first."""
        index = outputs[0].index
        number = index // self._sequences_per_prompt
        text, logprobs = "".join(output.text for output in outputs), None
        writer = self._writers[number]
        if self._with_logprobs:
            logprobs = writer.written([entry for o in outputs for entry in o.logprobs])
        if self._begins(index):
            text = self.prepared.prompts[number].echo + text
            if self._echoes_logprobs and logprobs is not None:
                prompt = writer.prompt(outputs[0].prompt_logprobs or [], self._top)
                logprobs = {key: prompt[key] + logprobs[key] for key in prompt}
        choice = {
            "index": index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": outputs[-1].finish_reason,
        }
        top = self.prepared.prompt_logprobs
        if top is not None and self._begins(index):
            choice["prompt_logprobs"] = writer.prompt_by_token(
                outputs[0].prompt_logprobs or [None], top
            )
        return choice

    def _begins(self, index: int) -> bool:
        raise NotImplementedError


class JsonReply(Reply):
    """One JSON body at the end."""

    def __init__(
        self,
        head: ReplyHead,
        prepared: Prepared,
        vocabulary: Vocabulary,
        *,
        n: int = 1,
        framed: bool = False,
    ) -> None:
        super().__init__(head, prepared, vocabulary)
        self._n = n
        self._framed = framed
        if framed:
            self.content_type += sideband.SUFFIX
        self._choices: list[Json | None] = [None] * len(prepared.sequences)
        self._logprobs: list[list[float]] = [[] for _ in prepared.sequences]

    def take_chunk(self) -> str:
        """See `Reply.take_chunk`: nothing before the end."""
        return ""

    def take_end(self) -> str:
        """See `Reply.take_end`."""
        frame = last_frame(self, seed=self.prepared.seed) if self._framed else ""
        if self.error is not None:
            return frame + to_json(error_body(self.error))
        return frame + to_json_in_chunks(self.completion())

    def completion(self) -> Json:
        """The whole of it, once it is finished."""
        self._take_waiting()
        choices = [self.head.whole_choice(choice) for choice in self._returned()]
        return self.head.completion(choices, self.usage)

    def _returned(self) -> list[Json]:
        """All choices; where more were written than are returned, the likeliest of each prompt."""
        choices = [choice for choice in self._choices if choice is not None]
        written = self._sequences_per_prompt
        if written == self._n:
            return choices
        best: list[Json] = []
        for first in range(0, len(choices), written):
            ranking = sorted(range(first, first + written), key=self._mean_logprob, reverse=True)
            for index in ranking[: self._n]:
                best.append(choices[index] | {"index": len(best)})
        return best

    def _mean_logprob(self, index: int) -> float:
        values = self._logprobs[index]
        return sum(values) / len(values) if values else 0.0

    def _begins(self, index: int) -> bool:
        return self._choices[index] is None

    def _take(self, output: Output) -> None:
        if output.logprob is not None:
            self._logprobs[output.index].append(output.logprob)
        part = self._choice([output])
        whole = self._choices[output.index]
        if whole is None:
            self._choices[output.index] = part
            return
        whole["text"] += part["text"]
        whole["finish_reason"] = part["finish_reason"]
        if whole["logprobs"] is not None:
            for key, values in part["logprobs"].items():
                whole["logprobs"][key].extend(values)


# By why the engine ended a sequence that its request is to blame for.
CODES = {engine.GRAMMAR: INVALID_GRAMMAR, engine.NOTHING_ALLOWED: NOTHING_ALLOWED}


def _failure(message: str, kind: str) -> RequestError:
    """What a client is told of a sequence that the engine ended."""
    code = CODES.get(kind)
    return BadRequest(message, code=code) if code else EngineFailure(message, code="engine_error")

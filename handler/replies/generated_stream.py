"""A completion in Hugging Face's format as Server-Sent Events: one a token, as TGI sends them."""

from __future__ import annotations

from typing import Any

from handler.content.json_text import to_json
from handler.engine.output import Output
from handler.engine.vocabulary import Vocabulary
from handler.errors import RequestError
from handler.replies.error_replies import error_body
from handler.replies.generated import TokenShapes
from handler.replies.pending_reply import Json
from handler.replies.reply import ReplyHead
from handler.replies.stream import StreamReply
from handler.requests.prepare import Prepared
from handler.requests.question import TEXT_OUTPUT, Asked


class GeneratedStreamReply(StreamReply):
    """The last event holds the whole text; nothing follows it, no `[DONE]` either."""

    def __init__(
        self,
        head: ReplyHead,
        prepared: Prepared,
        vocabulary: Vocabulary,
        asked: Asked,
        shapes: TokenShapes,
        *,
        framed: bool = False,
    ) -> None:
        super().__init__(head, prepared, vocabulary, None, framed=framed)
        self._asked = asked
        self._shapes = shapes
        self._outputs: list[Output] = []

    def take_end(self) -> str:
        """See `Reply.take_end`."""
        self._take_waiting()
        if self.error is not None:
            self._last_event(to_json(self._failure(self.error)), ends=True)
        else:
            self._last_event(to_json(self._whole()), ends=True)
        return self.take_chunk()

    def _failure(self, error: RequestError) -> Json:
        """An error: behind events in the words of those who read them, else it is a reply."""
        if not self._outputs:
            return error_body(error)
        return {"error": error.message, "error_type": "generation"}

    def _take(self, output: Output) -> None:
        self._outputs.append(output)
        if output.finish_reason is None:
            if self._framed and output.token is not None:
                self._tokens[0].append(output.token)
                self._events.append(self._frame(output.index, None, None))
            self._events.append(f"data: {to_json(self._event(output))}\n\n")

    def _event(self, output: Output) -> Json:
        return {
            "index": len(self._outputs),
            "token": self._shapes.token(output),
            "generated_text": None,
            "details": None,
        }

    def _whole(self) -> Json:
        before = self._asked.request["prompt"] if self._asked.full_text else ""
        return self._event(self._outputs[-1]) | {
            "generated_text": before + "".join(output.text for output in self._outputs),
            "details": self._shapes.details(self._outputs, self.prepared),
        }


class TextOutputStreamReply(GeneratedStreamReply):
    """The same in KServe's words: every event has its part of the text, the last one too."""

    def __init__(self, *given: Any, version: str, **named: Any) -> None:
        super().__init__(*given, **named)
        self._begins_with: Json = {"id": self._asked.id} if self._asked.id else {}
        self._begins_with |= {"model_name": self.head.model, "model_version": version}
        self._before = self._asked.request["prompt"] if self._asked.full_text else ""

    def _event(self, output: Output) -> Json:
        before, self._before = self._before, ""
        return self._begins_with | {"text_output": before + output.text} | self._details(output)

    def _whole(self) -> Json:
        return self._event(self._outputs[-1])

    def _details(self, output: Output) -> Json:
        if not self._asked.details:
            return {}
        reason = None
        if output.finish_reason is not None:
            reason = self._shapes.details(self._outputs, self.prepared)["finish_reason"]
        return {"details": {"finish_reason": reason, "token": self._shapes.token(output)}}


def generated_stream(
    head: ReplyHead,
    prepared: Prepared,
    vocabulary: Vocabulary,
    asked: Asked,
    shapes: TokenShapes,
    *,
    version: str,
    framed: bool,
) -> GeneratedStreamReply:
    """The stream in the format that is asked for; KServe's names the model's version."""
    given = (head, prepared, vocabulary, asked, shapes)
    if asked.format == TEXT_OUTPUT:
        return TextOutputStreamReply(*given, version=version, framed=framed)
    return GeneratedStreamReply(*given, framed=framed)

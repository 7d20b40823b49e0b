"""A text in Hugging Face's form as Server-Sent Events: one a token, as TGI sends them."""

from __future__ import annotations

from handler.content.json_text import to_json
from handler.engine.sequence import Output
from handler.engine.vocabulary import Vocabulary
from handler.replies.error_replies import error_body
from handler.replies.generated import TokenShapes
from handler.replies.live_reply import Json
from handler.replies.reply import ReplyHead
from handler.replies.stream import StreamReply
from handler.requests.prepare import Prepared
from handler.requests.question import Asked


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
            self._last_event(to_json(error_body(self.error)), ends=True)
        else:
            self._last_event(to_json(self._whole()), ends=True)
        return self.take_chunk()

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

"""The whole answer to a prediction: a completion for each thing asked, in its format."""

from __future__ import annotations

from bisect import bisect_right

from handler.content.json_text import to_json
from handler.engine.output import Output
from handler.engine.sequence import Sequence
from handler.errors import RequestError
from handler.replies import answers, sideband
from handler.replies.error_replies import error_body
from handler.replies.generated import TokenShapes
from handler.replies.pending_reply import Json, last_frame
from handler.replies.reply import JsonReply
from handler.replies.timings import Timings
from handler.requests.question import Question


class PredictionReply:
    """Sums up the replies of a question's parts; see `PendingReply`."""

    streams = False

    def __init__(
        self,
        question: Question,
        parts: list[JsonReply],
        shapes: TokenShapes,
        *,
        version: str,
        framed: bool,
    ) -> None:
        self.content_type = answers.content_type(question) + (sideband.SUFFIX if framed else "")
        self.timings = Timings()
        self.ignored_fields = ""
        self._question = question
        self._parts = parts
        self._shapes = shapes
        self._version = version
        self._framed = framed
        # Where details are asked for: what each step added, by part and index.
        self._outputs: dict[tuple[int, int], list[Output]] = {}
        # The index of each part's first text, as the engine counts them.
        self._firsts: list[int] = []
        count = 0
        for part in parts:
            self._firsts.append(count)
            count += len(part.finish_reasons)

    @property
    def error(self) -> RequestError | None:
        """See `PendingReply.error`."""
        return next((part.error for part in self._parts if part.error is not None), None)

    @property
    def finished(self) -> bool:
        """See `PendingReply.finished`."""
        return self.error is not None or all(part.finished for part in self._parts)

    @property
    def finish_reasons(self) -> list[str | None]:
        """See `PendingReply.finish_reasons`."""
        return [reason for part in self._parts for reason in part.finish_reasons]

    @property
    def end_reason(self) -> str:
        """See `PendingReply.end_reason`: the first of these that holds for a part."""
        reasons = {part.end_reason for part in self._parts}
        return next(each for each in ("error", "abort", "length", "stop") if each in reasons)

    @property
    def usage(self) -> Json:
        """See `PendingReply.usage`."""
        return answers.total_usage([part.usage for part in self._parts])

    @property
    def sequences(self) -> list[Sequence]:
        """See `PendingReply.sequences`."""
        return [sequence for part in self._parts for sequence in part.sequences]

    @property
    def tokens_waiting(self) -> int:
        """See `PendingReply.tokens_waiting`."""
        return sum(part.tokens_waiting for part in self._parts)

    def add(self, output: Output) -> None:
        """See `PendingReply.add`."""
        self.timings.note(output)
        number = bisect_right(self._firsts, output.index) - 1
        output.index -= self._firsts[number]
        self._parts[number].add(output)
        if self._question.asked[number].details:
            self._outputs.setdefault((number, output.index), []).append(output)

    def take_chunk(self) -> str:
        """See `PendingReply.take_chunk`: nothing before the end."""
        return ""

    def take_end(self) -> str:
        """See `PendingReply.take_end`."""
        frame = last_frame(self) if self._framed else ""
        if self.error is not None:
            return frame + to_json(error_body(self.error))
        completions = [part.completion() for part in self._parts]
        for (number, index), outputs in self._outputs.items():
            completions[number]["choices"][index]["details"] = self._details(number, outputs)
        return frame + answers.render(self._question, completions, self._version)

    def _details(self, number: int, outputs: list[Output]) -> Json:
        details = self._shapes.details(outputs, self._parts[number].prepared)
        tokens = [self._shapes.token(output) for output in outputs if output.token is not None]
        return details | {"prefill": [], "tokens": tokens}

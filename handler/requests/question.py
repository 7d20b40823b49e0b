"""A prediction, however it was sent: prompts, their options and the reply's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from handler.requests.prompts import without

# The formats of an answer.
COMPLETION = "completion"  # OpenAI's, as JSON or as a stream of events
PLAIN = "plain"  # the text alone
GENERATED = "generated"  # Hugging Face's: [{"generated_text"}]
TEXT_OUTPUT = "text_output"  # of KServe's `generate`: {"text_output"}


@dataclass(frozen=True)
class Field:
    """One field of a form or a query: its value as it came, or as TorchServe has parsed it."""

    name: str
    value: Any
    content_type: str = ""


@dataclass(frozen=True)
class Asked:
    """One thing that is asked for: a completion request (JSON) and the format of its answer."""

    request: dict[str, Any]
    format: str = COMPLETION
    # Of the last two: whether the prompt is given back, and its tokens are reported.
    full_text: bool = False
    details: bool = False
    # What the client calls it, where the format has a field for that.
    id: str = ""

    def as_json(self) -> dict[str, Any]:
        """A JSON body that asks for the same (a plain text by the header `Accept` besides)."""
        if self.format not in (GENERATED, TEXT_OUTPUT):
            return self.request
        parameters = without(self.request, "prompt")
        said = {"return_full_text": self.full_text, "details": self.details}
        asked = {"parameters": {**parameters, **said}}
        if self.format == GENERATED:
            return {"inputs": self.request["prompt"], **asked}
        named = {"id": self.id} if self.id else {}
        return {"text_input": self.request["prompt"], **named, **asked}


@dataclass(frozen=True)
class Envelope:
    """What KServe's answers stand in: V1's `predictions`, or V2's tensors.

    Attributes:
        is_tensors: Which of the two.
        id: What the client calls the request.
        outputs: Names of the tensors that are wanted; empty is all.
        binary: Of these, the ones that are sent as bytes behind the JSON.
        all_binary: Whether those are that nothing is said of.
    """

    is_tensors: bool = False
    id: str = ""
    outputs: tuple[str, ...] = ()
    binary: Mapping[str, bool] = field(default_factory=dict)
    all_binary: bool = False


@dataclass(frozen=True)
class Question:
    """What a prediction asks for: one thing, or a list of them, which is answered as a list."""

    asked: list[Asked]
    is_list: bool = False
    envelope: Envelope | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is sent as it is written: then one thing is asked."""
        return bool(self.asked[0].request.get("stream"))

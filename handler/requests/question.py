"""What a prediction asks for, whatever way it came: texts, each with its options and its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handler.requests.prompts import without

# The forms of an answer.
COMPLETION = "completion"  # OpenAI's, as JSON or as a stream of events
PLAIN = "plain"  # the text alone
GENERATED = "generated"  # Hugging Face's: [{"generated_text"}]


@dataclass(frozen=True)
class Field:
    """One field of a form or a query: its value as it came, or as TorchServe has parsed it."""

    name: str
    value: Any
    content_type: str = ""


@dataclass(frozen=True)
class Asked:
    """What one text is asked for with: a completion request (JSON) and the form of its answer."""

    request: dict[str, Any]
    form: str = COMPLETION
    # Of Hugging Face's form: whether the prompt is given back, and its tokens are told.
    full_text: bool = False
    details: bool = False

    def as_json(self) -> dict[str, Any]:
        """A JSON body that asks for the same (a plain text by the header `Accept` besides)."""
        if self.form != GENERATED:
            return self.request
        parameters = without(self.request, "prompt")
        told = {"return_full_text": self.full_text, "details": self.details}
        return {"inputs": self.request["prompt"], "parameters": {**parameters, **told}}


@dataclass(frozen=True)
class Question:
    """What a prediction asks for: one thing, or a list of them, which is answered as a list."""

    asked: list[Asked]
    is_list: bool = False

    @property
    def streams(self) -> bool:
        """Whether the answer is sent as it is written: then one thing is asked."""
        return bool(self.asked[0].request.get("stream"))

"""Tokens in Hugging Face's format, in details and in streams, as TGI reports them."""

from __future__ import annotations

from dataclasses import dataclass

from handler.engine.output import Output
from handler.replies.pending_reply import Json
from handler.requests.prepare import Prepared


@dataclass(frozen=True)
class TokenShapes:
    """Knows which tokens end a text, and which have no text of their own."""

    end_tokens: frozenset[int]
    special_tokens: frozenset[int]

    def token(self, output: Output) -> Json:
        """One token, with the text that it completes: all of them together are the text."""
        return {
            "id": output.token,
            "text": output.text,
            "logprob": output.logprob,
            "special": output.token in self.special_tokens,
        }

    def details(self, outputs: list[Output], prepared: Prepared) -> Json:
        """How a text came about."""
        last = outputs[-1]
        reason = "length"
        if last.finish_reason == "stop":
            reason = "eos_token" if last.token in self.end_tokens else "stop_sequence"
        sequence = prepared.sequences[last.index]
        is_sampled = sequence.options.temperature > 0
        return {
            "finish_reason": reason,
            "generated_tokens": sum(output.token is not None for output in outputs),
            "seed": prepared.seed if is_sampled else None,
            "input_length": len(sequence.prompt),
        }

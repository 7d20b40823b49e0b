"""Reads prompts as token ids that the model has, and refuses those too long for its context."""

from __future__ import annotations

from dataclasses import dataclass

from handler.archive_metadata import ArchiveMetadata
from handler.engine.vocabulary import Vocabulary
from handler.errors import BadRequest
from handler.older_pythons import SLOTS
from handler.requests.fields import parts
from handler.requests.schema import CompletionRequest

MAX_CHARS_PER_TOKEN = 64  # a longer text cannot fit: so much is never tokenised in vain
# Texts of one request that are tokenised, in bytes of UTF-8: everybody's next step waits for it.
MAX_PROMPT_BYTES = 131_072
# A prompt that is cut leaves at most this part of the context to what is written.
MAX_RESERVED_SHARE = 4


@dataclass(frozen=True, **SLOTS)
class PromptText:
    """A prompt as it is read: its ids, the text that is echoed, and how much was cut off it."""

    tokens: list[int]
    echo: str = ""
    hides_special_tokens: bool = False
    truncated_tokens: int = 0
    unread_characters: int = 0


@dataclass(frozen=True, **SLOTS)
class PromptReader:
    """Knows the model's vocabulary and context."""

    vocabulary: Vocabulary
    metadata: ArchiveMetadata

    def bound_text(self, prompts: list[str | list[int]]) -> None:
        """Refuse more text than may be tokenised; of a long prompt only so much is ever read."""
        longest = self.metadata.context_length * MAX_CHARS_PER_TOKEN
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        size = sum(len(text[-longest:].encode("utf-8")) for text in texts)
        if len(texts) > 1 and size > MAX_PROMPT_BYTES:
            raise BadRequest(
                f"`prompt` has {size} bytes of text in all; at most {MAX_PROMPT_BYTES} are "
                "allowed in a request",
                param="prompt",
                code="prompts_too_long",
            )

    def read(
        self, prompt: str | list[int], request: CompletionRequest, max_tokens: int
    ) -> PromptText:
        """Read one prompt; the end of it where it may be cut and has to be.

        Raises:
            BadRequest: It is too long, or a token id does not exist.
        """
        unread = 0
        if isinstance(prompt, str):
            unread = self._unread_characters(prompt, request)
            add = request.add_special_tokens is not False
            tokens = self.vocabulary.encode(prompt[unread:], add_special_tokens=add)
        else:
            tokens = prompt
        self._check_known(tokens, is_text=isinstance(prompt, str))
        if not tokens:
            tokens = [self.metadata.bos_token]
        kept = self._kept(len(tokens), request, max_tokens)
        cut = len(tokens) - kept
        if isinstance(prompt, str) and not cut and not unread:
            return PromptText(tokens, prompt if request.echo else "")
        tokens = self.vocabulary.keep_end(tokens, kept)
        hidden = request.skip_special_tokens is True
        echo = self.vocabulary.decode(tokens, skip_special_tokens=hidden) if request.echo else ""
        return PromptText(tokens, echo, hidden, cut, unread)

    def _kept(self, count: int, request: CompletionRequest, max_tokens: int) -> int:
        """How many of a prompt's `count` tokens are read: the last ones.

        Raises:
            BadRequest: It does not fit the context, and may not be cut.
        """
        context = self.metadata.context_length
        # One position at least is left to write into, unless the prompt is only to be scored.
        most = context - (1 if max_tokens else 0)
        wanted = request.truncate_prompt_tokens
        if wanted is not None and wanted > 0:
            count = min(count, wanted)
        if count <= most:
            return count
        if request.truncate_prompt or wanted == -1:
            # It has to be cut: then with room to go on, but never at the cost of much of it.
            return context - min(max_tokens, context // MAX_RESERVED_SHARE)
        raise BadRequest(
            f"`prompt` has {count} tokens; the model takes at most {most} of its "
            f"{context}. Shorten it, or send `truncate_prompt`: true to keep its end",
            param="prompt",
            code="context_length_exceeded",
        )

    def _unread_characters(self, prompt: str, request: CompletionRequest) -> int:
        """Characters of a text that are certain not to fit: they are not even tokenised.

        Raises:
            BadRequest: There are some, and the prompt may not be cut.
        """
        context = self.metadata.context_length
        unread = max(0, len(prompt) - context * MAX_CHARS_PER_TOKEN)
        if unread and not (request.truncate_prompt or request.truncate_prompt_tokens):
            raise BadRequest(
                f"`prompt` has {len(prompt)} characters, far more than fit: the model's context "
                f"has {context} tokens. Shorten it, or send `truncate_prompt`: true to keep its "
                "end",
                param="prompt",
                code="context_length_exceeded",
            )
        return unread

    def _check_known(self, tokens: list[int], *, is_text: bool) -> None:
        """Refuse ids that the model does not have; a tokenizer may have more than it."""
        known = self.metadata.vocab_size
        if all(max(part) < known for part in parts(tokens)):
            return
        wrong = next(token for token in tokens if token >= known)
        what = f"the token id {wrong}; the model's"
        if is_text:
            name = self.vocabulary.symbol(wrong)
            what = f"{name!r}, a token ({wrong}) of the tokenizer that the model does not have: its"
        raise BadRequest(
            f"`prompt` holds {what} ids go from 0 to {known - 1}",
            param="prompt",
            code="unknown_token",
        )

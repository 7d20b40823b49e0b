"""Answers requests to the tokenizer."""

from __future__ import annotations

import time
from typing import Any

from handler.archive_metadata import ArchiveMetadata
from handler.chat.conversations import Conversations
from handler.engine.vocabulary import Vocabulary
from handler.errors import BadRequest
from handler.requests.fields import MAX_TOKENIZE_BYTES
from handler.requests.token_schema import DetokenizeRequest, TokenizeRequest

Json = dict[str, Any]


class Tokens:
    """Texts to ids and back; replies have this project's fields and vLLM's."""

    def __init__(
        self, vocabulary: Vocabulary, metadata: ArchiveMetadata, conversations: Conversations
    ) -> None:
        self._vocabulary = vocabulary
        self._context_length = metadata.context_length
        self._conversations = conversations

    def of(self, request: TokenizeRequest) -> Json:
        """The ids of a text or a conversation.

        Raises:
            BadRequest: The model has no chat template, or that makes too long a text.
        """
        add = request.add_special_tokens is not False
        text = request.text if request.text is not None else request.prompt
        if text is None:
            text, add = self._rendered(request), request.add_special_tokens is True
        tokens = self._vocabulary.encode(text, add_special_tokens=add)
        decode = self._vocabulary.decode
        text_of = {token: decode([token], skip_special_tokens=False) for token in set(tokens)}
        texts = [text_of[token] for token in tokens]
        names = map(self._vocabulary.symbol, tokens)
        return {
            "tokens": tokens,
            "texts": texts,
            "count": len(tokens),
            "max_model_len": self._context_length,
            "token_strs": list(names) if request.return_token_strs else None,
        }

    def _rendered(self, request: TokenizeRequest) -> str:
        answers = request.add_generation_prompt is not False
        now = int(time.time())
        text = self._conversations.render(request.messages or [], now, answers=answers)
        if len(text.encode("utf-8")) > MAX_TOKENIZE_BYTES:
            raise BadRequest(
                f"`messages` make more than {MAX_TOKENIZE_BYTES} bytes of text",
                param="messages",
                code="text_too_long",
            )
        return text

    def text_of(self, request: DetokenizeRequest) -> Json:
        """The text of ids.

        Raises:
            BadRequest: There is no such id.
        """
        if any(token >= self._vocabulary.size for token in request.tokens):
            raise BadRequest(
                f"`tokens` must be ids from 0 to {self._vocabulary.size - 1}",
                param="tokens",
                code="unknown_token",
            )
        skip = request.skip_special_tokens
        text = self._vocabulary.decode(request.tokens, skip_special_tokens=skip)
        return {"text": text, "prompt": text}

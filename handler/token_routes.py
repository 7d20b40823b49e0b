"""The tokenizer routes: v1/tokenize and v1/detokenize."""

from __future__ import annotations

from typing import Any

from handler.content.json_text import to_json, to_json_in_chunks
from handler.errors import NotFound
from handler.replies.reply import WholeReply
from handler.requests.token_schema import DetokenizeRequest, TokenizeRequest
from handler.requests.validation import parse_json, read
from handler.tokens import Tokens


class TokenRoutes:
    """A text's tokens, and the text of tokens."""

    def __init__(self, tokens: Tokens, *, is_strict: bool) -> None:
        self._tokens = tokens
        self._is_strict = is_strict

    def answer(self, route: str, body: bytes | str | Any) -> WholeReply:
        """Answer one of them.

        Raises:
            RequestError: The route does not exist or the body is wrong.
        """
        value = parse_json(body)
        if route == "v1/tokenize":
            asked, unknown = read(TokenizeRequest, value, is_strict=self._is_strict)
            return WholeReply(to_json_in_chunks(self._tokens.of(asked)), ignored_fields=unknown)
        if route == "v1/detokenize":
            ids, unknown = read(DetokenizeRequest, value, is_strict=self._is_strict)
            return WholeReply(to_json(self._tokens.text_of(ids)), ignored_fields=unknown)
        raise NotFound(
            f"There is no route {route[:100]!r}; there are v1/completions, v1/chat/completions, "
            "v1/embeddings, v1/models, v1/tokenize and v1/detokenize"
        )

"""Fields that name tokens: which end a text, which may come, which words may not."""

from __future__ import annotations

from typing import Any

from handler.errors import NOTHING_ALLOWED, BadRequest
from handler.requests.prompt_reader import PromptReader
from handler.requests.schema import CompletionRequest


def token_rules(request: CompletionRequest, reader: PromptReader) -> dict[str, Any]:
    """The options of a text that follow from what a request says of tokens.

    Raises:
        BadRequest: A token does not exist, or none may come.
    """
    size = reader.metadata.vocab_size
    stop_tokens = frozenset(_known("stop_token_ids", request.stop_token_ids, size))
    allowed = _known("allowed_token_ids", request.allowed_token_ids, size)
    never = frozenset(range(size)) - frozenset(allowed) if allowed else frozenset()
    words = tuple(_tokens_of(request.bad_words or [], reader))
    early = stop_tokens if request.ignore_eos else stop_tokens | reader.metadata.end_tokens
    left = set(allowed) - {word[0] for word in words if len(word) == 1}
    if request.min_tokens:
        left -= early
    if allowed and not left:
        raise BadRequest(
            "`allowed_token_ids` leaves no token that may come first: `bad_words` and `min_tokens` "
            "forbid all of them",
            param="allowed_token_ids",
            code=NOTHING_ALLOWED,
        )
    return {
        "stop_tokens": stop_tokens,
        "includes_stop": bool(request.include_stop_str_in_output),
        "never": never,
        "bad_words": words,
    }


def _known(name: str, tokens: list[int] | None, size: int) -> list[int]:
    wrong = next((token for token in tokens or () if token >= size), None)
    if wrong is not None:
        raise BadRequest(
            f"`{name}` names the token id {wrong}; the model's ids go from 0 to {size - 1}",
            param=name,
            code="unknown_token",
        )
    return tokens or []


def _tokens_of(words: list[str], reader: PromptReader) -> list[tuple[int, ...]]:
    """Each word's tokens, alone and behind a space."""
    found: dict[tuple[int, ...], None] = {}
    for word in words:
        for text in (word, " " + word.lstrip()):
            tokens = reader.vocabulary.encode(text, add_special_tokens=False)
            if tokens and all(token < reader.metadata.vocab_size for token in tokens):
                found[tuple(tokens)] = None
    return list(found)

"""The schemas of tokenizer requests, with this project's field names and vLLM's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from handler.requests.base import _Request
from handler.requests.chat_schema import MAX_MESSAGES, Message
from handler.requests.fields import (
    MAX_TOKENIZE_BYTES,
    AddSpecialTokens,
    BoundedText,
    SkipSpecialTokens,
    Text,
    TokenIds,
)


class TokenizeRequest(_Request):
    """Ask for the token ids of `text` (or `prompt`), or of a rendered conversation."""

    model: Text | None = Field(None, description="Name of the model.")
    text: BoundedText | None = Field(None, examples=["Once upon a time"])
    prompt: BoundedText | None = Field(None, description="vLLM's name for `text`.")
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)] | None = Field(
        None, description="Instead of a text; the template adds the special tokens."
    )
    add_generation_prompt: bool | None = Field(
        None, description="False leaves out the beginning of the assistant's turn."
    )
    add_special_tokens: AddSpecialTokens = None
    return_token_strs: bool | None = Field(
        None, description=("Return each token's name, in `token_strs`.")
    )

    @model_validator(mode="after")
    def _take_one(self) -> TokenizeRequest:
        given = [name for name in ("text", "prompt", "messages") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError("text", "give one of `text`, `prompt` and `messages`")
        return self


class DetokenizeRequest(_Request):
    """Ask for the text of token ids."""

    model: Text | None = Field(None, description="Name of the model.")
    tokens: Annotated[TokenIds, Field(max_length=MAX_TOKENIZE_BYTES)]
    skip_special_tokens: SkipSpecialTokens = None

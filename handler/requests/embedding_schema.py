"""The schema of embeddings requests, in OpenAI's and vLLM's format."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from handler.requests.base import _Request
from handler.requests.fields import (
    AddSpecialTokens,
    KeptTokens,
    Text,
    TokenId,
    Whole,
    check_prompt,
)

# OpenAI's own bound.
MAX_INPUTS = 2048


def _check_input(value: Any) -> Any:
    """Refuse what holds nothing that could be embedded; a text alone becomes a list of one."""
    try:
        checked = check_prompt(value)
    except PydanticCustomError as error:
        code = "input" if error.type == "prompt" else error.type
        raise PydanticCustomError(code, error.message_template, error.context) from None
    if checked is None or checked == "":
        raise PydanticCustomError("input", "must not be empty")
    inputs = [checked] if isinstance(checked, str) or isinstance(checked[0], int) else checked
    if len(inputs) > MAX_INPUTS:
        raise PydanticCustomError("input", "may contain at most {most} texts", {"most": MAX_INPUTS})
    if "" in inputs:
        raise PydanticCustomError(
            "input", "contains an empty string, at index {index}", {"index": inputs.index("")}
        )
    return inputs


_Input = Union[str, list[str], list[TokenId], list[list[TokenId]]]
Input = Annotated[
    list[Union[str, list[int]]], PlainValidator(_check_input, json_schema_input_type=_Input)
]


class EmbeddingRequest(_Request):
    """Turn texts into vectors: what the model's last layer makes of their tokens.

    GPT-2 was trained to go on with texts, not to compare them: models made for that find better
    neighbours. Fields that are not listed are ignored, and named in `x-ignored-fields`.
    """

    model: Text | None = Field(None, description="Name of the model; informative.")
    input: Input = Field(
        description=f"A string, a list of token ids, or up to {MAX_INPUTS} of either.",
        examples=["Once upon a time"],
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="`base64`: little-endian 32-bit floats, a fifth of the bytes."
    )
    dimensions: Whole | None = Field(
        None,
        ge=1,
        description=("Keep only this many numbers, the first ones; at most the model's width."),
    )
    pooling: Literal["mean", "last"] | None = Field(
        None, description="The mean over a text's tokens (the default), or only its last token's."
    )
    normalize: bool | None = Field(
        None, description="False leaves vectors as they are; otherwise they are scaled to length 1."
    )
    user: Text | None = Field(None, description="Ignored.")
    truncate_prompt: bool | None = Field(
        None, description="Keep the end of a text that is too long, instead of refusing it."
    )
    truncate_prompt_tokens: KeptTokens | None = Field(
        None,
        description=(
            "Keep only this many tokens at the end of each text; -1: as `truncate_prompt`."
        ),
    )
    add_special_tokens: AddSpecialTokens = None

"""Fields of a request whose check takes more than a bound, and the bounds of their size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from handler.workshop import pace

MAX_STOP = 16
MAX_STOP_CHARS = 256
MAX_LOGPROBS = 20
# Tokenising holds up everybody's next step: 64 KiB take 20 ms as prose, 0.4 s at the worst.
MAX_TOKENIZE_BYTES = 65_536
MAX_TOKEN_IDS = 65_536  # in `allowed_token_ids`; far fewer are of use elsewhere
MAX_STOP_TOKEN_IDS = 128
MAX_BAD_WORDS = 128
# Items that are looked at in one chunk.
AT_ONCE = 32_768


def _check_unicode(text: str) -> str:
    """Refuse lone surrogates: they are no characters and have no UTF-8 form."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "lone_surrogate",
            "contains a lone surrogate (half a character) at position {position}",
            {"position": error.start},
        ) from None
    return text


def _check_size(text: str) -> str:
    size = len(text.encode("utf-8"))
    if size > MAX_TOKENIZE_BYTES:
        raise PydanticCustomError(
            "text_too_long",
            "has {size} bytes of UTF-8; at most {most} are allowed",
            {"size": size, "most": MAX_TOKENIZE_BYTES},
        )
    return text


def _take_integral(value: Any) -> Any:
    """Take 3.0 for 3: languages with one kind of number write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _take_integral_items(values: Any) -> Any:
    return [_take_integral(value) for value in values] if isinstance(values, list) else values


Text = Annotated[str, AfterValidator(_check_unicode)]
BoundedText = Annotated[Text, AfterValidator(_check_size)]
Whole = Annotated[int, BeforeValidator(_take_integral)]
TokenId = Annotated[int, Field(ge=0)]
# Of hundreds of thousands of wrong items the first one is named: to list them all takes a second.
TokenIds = Annotated[list[TokenId], Field(fail_fast=True), BeforeValidator(_take_integral_items)]
AddSpecialTokens = Annotated[
    Optional[bool],
    Field(
        description=(
            "Begin prompts with the token that the tokenizer puts there, if any (the default)."
        )
    ),
]
# vLLM's names, and the same without their ends.
LogprobsMode = Literal["raw_logprobs", "processed_logprobs", "raw", "processed"]
SkipSpecialTokens = Annotated[
    Optional[bool],
    Field(
        description=(
            "True leaves every special token out of the text, false none. By default only those "
            "that begin and end a text are left out."
        )
    ),
]


def check_prompt(prompt: Any) -> Any:
    """Say in one sentence what a prompt may be, not once for each member of the union.

    Every item is looked at here, and by nobody again: there may be hundreds of thousands.
    """
    if prompt is None:
        return prompt
    if isinstance(prompt, str):
        return _check_unicode(prompt)
    kinds = _kinds(prompt) if isinstance(prompt, list) else {type(prompt)}
    if prompt == []:
        raise PydanticCustomError("prompt", "must not be an empty list")
    if kinds == {str}:
        return [_check_unicode(text) for text in prompt]
    if kinds == {list}:
        if not all(prompt):
            raise PydanticCustomError("prompt", "must not contain an empty list of token ids")
        return [_check_ids(ids) for ids in prompt]
    return _check_ids(prompt)


def parts(items: list[Any]) -> Iterator[list[Any]]:
    """What may be hundreds of thousands, chunk by chunk; a step may come between two of them."""
    for at in range(0, len(items), AT_ONCE):
        if at:
            pace()
        yield items[at : at + AT_ONCE]


def _kinds(items: list[Any]) -> set[type]:
    return {kind for part in parts(items) for kind in set(map(type, part))}


def _check_ids(ids: Any) -> Any:
    if isinstance(ids, list):
        kinds = _kinds(ids)
        if float in kinds:
            ids = _take_integral_items(ids)
            kinds = _kinds(ids)
        if kinds == {int}:
            if min(map(min, parts(ids))) < 0:
                raise PydanticCustomError("prompt", "token ids must not be negative")
            return ids
    raise PydanticCustomError(
        "prompt", "must be a string, a list of strings, a list of token ids or a list of such lists"
    )


_Prompt = Union[str, list[str], list[TokenId], list[list[TokenId]], None]
Prompt = Annotated[_Prompt, PlainValidator(check_prompt, json_schema_input_type=_Prompt)]


def _check_stop_shape(stop: Any) -> Any:
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise PydanticCustomError("stop", "must be a string or a list of strings")
    if len(texts) > MAX_STOP:
        raise PydanticCustomError("stop", "may contain at most {most} strings", {"most": MAX_STOP})
    if not all(0 < len(text) <= MAX_STOP_CHARS for text in texts):
        raise PydanticCustomError(
            "stop", "strings must have 1 to {most} characters", {"most": MAX_STOP_CHARS}
        )
    return texts


def _keep_first_odd(bias: Any) -> Any:
    """Of a bias that holds what is no number keep that alone, for pydantic to refuse.

    It would list every one, and keep Python's lock meanwhile.
    """
    if isinstance(bias, dict):
        for token, value in bias.items():
            if type(value) not in (int, float):
                return {token: value}
    return bias


def _check_logit_bias(bias: dict[str, float]) -> dict[str, float]:
    for token, value in bias.items():
        if not (token.isascii() and token.isdigit() and len(token) < 10):
            raise PydanticCustomError("logit_bias", "keys must be token ids")
        if not -100 <= value <= 100:
            raise PydanticCustomError("logit_bias", "values must lie between -100 and 100")
    return bias


def _refuse_suffix(suffix: Any) -> Any:
    if isinstance(suffix, str) and suffix:
        raise PydanticCustomError("suffix", "must be empty: GPT-2 only writes forwards")
    return suffix


def _check_kept(kept: int) -> int:
    if kept != -1 and kept < 1:
        raise PydanticCustomError(
            "truncate_prompt_tokens", "must be 1 or more, or -1 for what fits the context"
        )
    return kept


def _check_bad_words(words: Any) -> Any:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise PydanticCustomError("bad_words", "must be a list of strings")
    if len(words) > MAX_BAD_WORDS:
        raise PydanticCustomError(
            "bad_words", "may contain at most {most}", {"most": MAX_BAD_WORDS}
        )
    if not all(word.strip() and len(word) <= MAX_STOP_CHARS for word in words):
        raise PydanticCustomError(
            "bad_words", "strings must have 1 to {most} characters", {"most": MAX_STOP_CHARS}
        )
    return words


BadWords = Annotated[list[Text], BeforeValidator(_check_bad_words)]
StopTokenIds = Annotated[TokenIds, Field(max_length=MAX_STOP_TOKEN_IDS)]
AllowedTokenIds = Annotated[TokenIds, Field(min_length=1, max_length=MAX_TOKEN_IDS)]
NoSuffix = Annotated[str, Field(max_length=0), BeforeValidator(_refuse_suffix)]
KeptTokens = Annotated[Whole, AfterValidator(_check_kept)]
Stop = Annotated[list[Text], BeforeValidator(_check_stop_shape)]
LogitBias = Annotated[
    dict[str, float], BeforeValidator(_keep_first_odd), AfterValidator(_check_logit_bias)
]

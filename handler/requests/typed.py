"""Options that came as text (in a query or a form): the values that JSON would have given."""

from __future__ import annotations

import json
import re
from typing import Any

from handler.errors import BadRequest

NUMBERS = frozenset(
    {"max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty"}
    | {"presence_penalty", "frequency_penalty", "seed", "n", "best_of", "logprobs"}
    | {"max_length", "min_tokens", "truncate_prompt_tokens", "priority"}
    # As transformers and TGI name them.
    | {"max_new_tokens", "min_new_tokens", "num_return_sequences", "typical_p"}
    | {"truncate", "prompt_logprobs"}
)
SWITCHES = frozenset(
    {"stream", "echo", "truncate_prompt", "ignore_eos", "add_special_tokens"}
    | {"include_stop_str_in_output"}
    | {"skip_special_tokens", "do_sample", "return_full_text", "details"}
)
OBJECTS = frozenset(
    {"logit_bias", "stream_options", "parameters", "stop_token_ids", "allowed_token_ids"}
    | {"response_format", "structured_outputs", "guided_json", "guided_choice"}
)
TEXTS = frozenset({"model", "user", "suffix", "guided_regex", "guided_grammar", "logprobs_mode"})
LISTS = frozenset({"bad_words", "stop", "stop_sequence", "stop_sequences", "stop_strings"})
OPTIONS = NUMBERS | SWITCHES | OBJECTS | TEXTS | LISTS

WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?")
YES, NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def typed(name: str, values: list[str]) -> Any:
    """The value of an option that came as text, once or several times.

    What is empty is as if it were not there. What is no value of the kind stays a string, which the
    contract then refuses by name.

    Raises:
        BadRequest: An option that has one value has several.
    """
    given = [text for text in values if text]
    if not given:
        return None
    if name in LISTS:
        return given
    if len(given) > 1:
        raise BadRequest(f"`{name}` is given {len(given)} times", param=name, code="repeated")
    return _value(name, given[0])


def _value(name: str, text: str) -> Any:
    word = text.strip()
    if name in NUMBERS:
        if WHOLE.fullmatch(word):
            return int(word)
        return float(word) if NUMBER.fullmatch(word) else text
    if name in SWITCHES:
        small = word.lower()
        return True if small in YES else False if small in NO else text
    if name in OBJECTS:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text

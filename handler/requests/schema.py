"""The contract: the fields of a request (`reply_schema.py`: what a reply looks like).

Another sampling option is a field here, a line in `typed.py` and `prepare.py`, a field of
`engine/options.py`, and what it does in `engine/sampler.py` and `native/sample.c`.

Input is judged here, once. Knows neither TorchServe nor the engine; imports pydantic alone, so that
the gateway can publish the same models as OpenAPI.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from handler.requests.base import _Request
from handler.requests.fields import (
    MAX_LOGPROBS,
    MAX_STOP,
    AddSpecialTokens,
    AllowedTokenIds,
    BadWords,
    KeptTokens,
    LogitBias,
    LogprobsMode,
    NoSuffix,
    Prompt,
    SkipSpecialTokens,
    Stop,
    StopTokenIds,
    Text,
    Whole,
)
from handler.requests.grammar_schema import GrammarFields


class StreamOptions(_Request):
    """Options of a streamed reply."""

    include_usage: bool | None = Field(
        None,
        description="End the stream with an event of token counts; the others have `usage`: null.",
    )
    continuous_usage_stats: bool | None = Field(
        None, description="With `include_usage`: every event has the token counts so far."
    )
    include_obfuscation: bool | None = Field(
        None, description="Accepted without effect: events are never padded."
    )


class WritingRequest(GrammarFields):
    """What completions and chats have in common: how a text is written and sent."""

    model: Text | None = Field(None, description="Name of the model; informative.")
    max_tokens: Whole | None = Field(
        None, ge=0, description="Most tokens to generate; the context is a limit too."
    )
    min_tokens: Whole | None = Field(
        None, ge=0, description="Generate at least this many tokens before an end-of-text token."
    )
    max_length: Whole | None = Field(
        None,
        ge=1,
        description=(
            "Most tokens of prompt and completion together, as in transformers; `max_tokens` "
            "applies too."
        ),
    )
    temperature: float | None = Field(None, ge=0, le=2, description="0 always takes the likeliest.")
    top_k: Whole | None = Field(
        None, ge=-1, description="Only the k likeliest tokens; 0 and -1 are off."
    )
    top_p: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Only the likeliest tokens that together reach this share; at least one.",
    )
    min_p: float | None = Field(
        None, ge=0, le=1, description="Only tokens at least this likely, relative to the likeliest."
    )
    repetition_penalty: float | None = Field(
        None,
        ge=0.01,
        le=10,
        description=("Above 1 makes tokens of prompt and completion less likely."),
    )
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: LogitBias | None = Field(
        None,
        description=("Token ids (as strings), and for each a number that is added to its logit."),
    )
    priority: Whole | None = Field(
        None,
        ge=-(2**31),
        le=2**31 - 1,
        description="Lower ones get a free slot first; never before the key's own priority.",
    )
    seed: Whole | None = Field(
        None, ge=-(2**63), le=2**63 - 1, description="The same seed gives the same text."
    )
    stop: Stop | None = Field(
        None,
        description=(f"Up to {MAX_STOP} strings that end the completion; they are not part of it."),
    )
    stop_token_ids: StopTokenIds | None = Field(
        None, description="Tokens that end the completion; they are not part of it."
    )
    include_stop_str_in_output: bool | None = Field(
        None, description="Include the stop string or stop token that ended a completion."
    )
    bad_words: BadWords | None = Field(
        None,
        description="Words that are never written: the tokens of each, alone and after a space.",
    )
    allowed_token_ids: AllowedTokenIds | None = Field(
        None,
        description=(
            "Generate only these tokens; a completion ends early only if an end-of-text token is "
            "among them."
        ),
    )
    n: Whole | None = Field(
        None,
        ge=1,
        description=(
            "Completions for each prompt; over all prompts at most the model's `limits.texts`."
        ),
    )
    stream: bool | None = Field(None, description="Send the text as it is written, as events.")
    stream_options: StreamOptions | None = None
    user: Text | None = Field(None, description="Ignored.")
    truncate_prompt: bool | None = Field(
        None, description="Keep the end of a prompt that is too long, instead of refusing it."
    )
    truncate_prompt_tokens: KeptTokens | None = Field(
        None,
        description=("Keep only this many tokens at the prompt's end; -1: as `truncate_prompt`."),
    )
    logprobs_mode: LogprobsMode | None = Field(
        None,
        description="Of which logits log probabilities are: the model's own (`raw_logprobs`), or "
        "behind penalties, biases, what is allowed, temperature, `top_k`, `top_p` and `min_p` "
        "(`processed_logprobs`); not said, the model's `defaults.logprobs_mode`. Those of prompts "
        "are always the model's own.",
    )
    ignore_eos: bool | None = Field(None, description="Go on after the end-of-text token.")
    skip_special_tokens: SkipSpecialTokens = None

    @model_validator(mode="after")
    def _check_common(self) -> WritingRequest:
        if self.max_tokens is not None and (self.min_tokens or 0) > self.max_tokens:
            raise PydanticCustomError(
                "min_tokens",
                "`min_tokens` must be at most `max_tokens`, which is {most}",
                {"most": self.max_tokens},
            )
        options = self.stream_options
        asks_for_usage = options and (options.include_usage or options.continuous_usage_stats)
        if asks_for_usage and not self.stream:
            raise PydanticCustomError("stream_options", "`stream_options` needs `stream`: true")
        return self


class CompletionRequest(WritingRequest):
    """Go on with a prompt. What is left out (or null) takes the model's default.

    A request that asks for the likeliest token (`temperature` 0, `top_k` 1, `top_p` 0 or `min_p` 1)
    gets it: the model's own defaults, its `repetition_penalty` among them, then do not apply.
    Fields that are not listed are ignored, and named in the reply's header `x-ignored-fields`.
    """

    other_names = frozenset({"input"})
    prompt: Prompt = Field(
        None,
        description="The text to continue; an empty one starts a new text.",
        examples=["Once upon a time"],
    )
    best_of: Whole | None = Field(
        None,
        ge=1,
        description=(
            "Completions to generate for each prompt, of which the `n` with the highest mean log "
            "probability are returned, best first. Above `n`, not with `stream`."
        ),
    )
    logprobs: Whole | None = Field(
        None, ge=0, le=MAX_LOGPROBS, description="Log probabilities, with this many alternatives."
    )
    prompt_logprobs: Whole | None = Field(
        None,
        ge=0,
        le=MAX_LOGPROBS,
        description=(
            "Log probabilities of the prompt's tokens, by token id, with this many alternatives "
            "for each. Not with `stream`."
        ),
    )
    echo: bool | None = Field(None, description="Return the prompt before the completion.")
    suffix: NoSuffix | None = Field(None, description="GPT-2 has none; it may be empty.")
    add_special_tokens: AddSpecialTokens = None

    @model_validator(mode="before")
    @classmethod
    def _take_input_for_prompt(cls, value: Any) -> Any:
        """Take `input`, the plain service's name, for `prompt`."""
        if isinstance(value, dict) and value.get("input") is not None:
            if value.get("prompt") is not None:
                raise PydanticCustomError("input", "give either `prompt` or `input`, not both")
            value = value | {"prompt": value["input"]}
        return value

    @model_validator(mode="after")
    def _check_together(self) -> CompletionRequest:
        n, best_of = self.n or 1, self.best_of
        if best_of is not None and best_of < n:
            raise PydanticCustomError(
                "best_of", "`best_of` must be at least `n`, which is {n}", {"n": n}
            )
        if best_of is not None and best_of > n and self.stream:
            raise PydanticCustomError(
                "best_of", "`best_of` above `n` cannot be streamed: the best are known at the end"
            )
        if self.prompt_logprobs is not None and self.stream:
            raise PydanticCustomError(
                "prompt_logprobs", "`prompt_logprobs` cannot be streamed; leave out `stream`"
            )
        return self

    @property
    def candidates(self) -> int:
        """Completions to generate for each prompt."""
        return self.best_of or self.n or 1

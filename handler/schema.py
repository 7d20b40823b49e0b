"""The contract: what a request may say and what a reply looks like.

Input is judged here, once. Knows neither TorchServe nor the engine; imports pydantic alone, so that
the gateway can publish the same models as OpenAPI.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from handler import strict_json
from handler.errors import BadRequest
from handler.fields import (
    MAX_LOGPROBS,
    MAX_N,
    MAX_TOKENIZE_BYTES,
    AddSpecialTokens,
    BoundedText,
    LogitBias,
    Prompt,
    SkipSpecialTokens,
    Stop,
    Text,
    TokenId,
)

Model = TypeVar("Model", bound=BaseModel)

MOST_NAMED = 100  # characters of a field's name in an error


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(_Strict):
    """Options of a streamed reply."""

    include_usage: bool = Field(False, description="End the stream with an event of token counts.")


class CompletionRequest(_Strict):
    """Go on with a prompt. What is left out (or null) takes the model's default."""

    model: Text | None = Field(None, description="Name of the model; informative.")
    prompt: Prompt = Field(
        "",
        description="What to go on with; empty starts a new text.",
        examples=["Once upon a time"],
    )
    max_tokens: int | None = Field(
        None, ge=0, le=1_000_000, description="Tokens to write at most; the context ends it too."
    )
    temperature: float | None = Field(None, ge=0, le=2, description="0 always takes the likeliest.")
    top_k: int | None = Field(None, ge=0, description="Only the k likeliest tokens; 0 is off.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Only the likeliest tokens that together reach this share."
    )
    min_p: float | None = Field(
        None, ge=0, le=1, description="Only tokens at least this likely, relative to the likeliest."
    )
    repetition_penalty: float | None = Field(
        None, ge=0.01, le=10, description="Above 1 makes tokens of prompt and text less likely."
    )
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: LogitBias | None = Field(
        None, description="Token id (as text) to a number that is added to its logit."
    )
    seed: int | None = Field(
        None, ge=-(2**63), le=2**63 - 1, description="The same seed gives the same text."
    )
    stop: Stop | None = Field(
        None, description="Up to 4 texts that end the writing; they are not part of it."
    )
    n: int | None = Field(None, ge=1, le=MAX_N, description="Texts to write for each prompt.")
    best_of: int | None = Field(None, ge=1, le=MAX_N, description="Must equal n, if given.")
    stream: bool | None = Field(None, description="Send the text as it is written, as events.")
    stream_options: StreamOptions | None = None
    logprobs: int | None = Field(
        None, ge=0, le=MAX_LOGPROBS, description="Log probabilities, with this many runners-up."
    )
    echo: bool | None = Field(None, description="Begin the text with the prompt.")
    suffix: None = Field(None, description="Not supported by GPT-2.")
    user: Text | None = Field(None, description="Ignored.")
    truncate_prompt: bool | None = Field(
        None, description="Keep the end of a prompt that is too long, instead of refusing it."
    )
    ignore_eos: bool | None = Field(None, description="Write on after the end-of-text token.")
    add_special_tokens: AddSpecialTokens = None
    skip_special_tokens: SkipSpecialTokens = None

    @model_validator(mode="before")
    @classmethod
    def _take_input_for_prompt(cls, value: Any) -> Any:
        """Take `input`, the plain service's name, for `prompt`."""
        if isinstance(value, dict) and "input" in value:
            if "prompt" in value:
                raise PydanticCustomError("input", "give either `prompt` or `input`, not both")
            value = dict(value)
            value["prompt"] = value.pop("input")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> CompletionRequest:
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise PydanticCustomError("best_of", "`best_of` must equal `n`")
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("stream_options", "`stream_options` needs `stream`: true")
        return self


class TokenizeRequest(_Strict):
    """Ask for the token ids of a text."""

    text: BoundedText
    add_special_tokens: AddSpecialTokens = None


class DetokenizeRequest(_Strict):
    """Ask for the text of token ids."""

    tokens: Annotated[list[TokenId], Field(max_length=MAX_TOKENIZE_BYTES)]
    skip_special_tokens: SkipSpecialTokens = None


class Logprobs(BaseModel):
    """Log probabilities (natural logarithm) in the shape of OpenAI's legacy completions."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


FinishReason = Literal["stop", "length"]


class Choice(BaseModel):
    """One text."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None


class PromptTokensDetails(BaseModel):
    """How much of the prompt needed no work."""

    cached_tokens: int


class Usage(BaseModel):
    """Token counts of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Completion(BaseModel):
    """A reply, or one event of a streamed one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None


class TokenizeReply(BaseModel):
    """Token ids, the text of each (bytes that are no character become U+FFFD), and their number."""

    tokens: list[int]
    texts: list[str]
    count: int


class DetokenizeReply(BaseModel):
    """The text of token ids."""

    text: str


class ModelCard(BaseModel):
    """What is loaded."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    version: str
    checkpoint: str
    parameters: int
    context_length: int
    vocab_size: int
    shape: dict[str, int]
    engine: str
    precision: str
    cache: str
    size_bytes: int
    content_sha256: str | None
    quality: dict[str, Any] | None
    license: str | None
    defaults: dict[str, float | int]
    examples: list[str]
    limits: dict[str, int | float]


class ModelList(BaseModel):
    """The loaded models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class ErrorDetail(BaseModel):
    """What was wrong, in words, and where."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(BaseModel):
    """Every error, in OpenAI's shape."""

    error: ErrorDetail


def parse_json(body: Any) -> Any:
    """Return the value of a request body that is JSON, or was parsed by TorchServe already.

    Raises:
        BadRequest: It is not JSON, nested too deeply, or holds half a character.
    """
    try:
        if isinstance(body, (bytes, str)):
            return strict_json.load(body)
        strict_json.check(body)
    except strict_json.JsonError as error:
        raise BadRequest(error.message, param=error.param, code=error.code) from None
    return body


def validate(model: type[Model], value: Any) -> Model:
    """Check `value` against `model`.

    Raises:
        BadRequest: Names the first field that is wrong and what is allowed.
    """
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object", code="invalid_type")
    try:
        return model.model_validate(value)
    except ValidationError as failure:
        raise _to_bad_request(failure) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply", code="invalid_json") from None


def _to_bad_request(failure: ValidationError) -> BadRequest:
    fault = failure.errors(include_url=False, include_input=False)[0]
    location = [part for part in fault["loc"] if isinstance(part, int) or part.isidentifier()]
    param = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    param = param[:MOST_NAMED]  # a key of `logit_bias` is the client's, and as long as he likes
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][-1])[:MOST_NAMED]
        return BadRequest(f"Unknown field `{name}`", param=name, code="unknown_field")
    message = fault["msg"].replace("Input should be", "must be").replace("Value error, ", "")
    if not param:
        about = fault["type"] if fault["type"] in CompletionRequest.model_fields else None
        return BadRequest(message[:1].upper() + message[1:], param=about)
    return BadRequest(f"`{param}` {message}", param=param.split("[")[0], code=fault["type"])

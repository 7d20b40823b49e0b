"""The schemas of replies, for describing the interface; replies are not checked by them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Logprobs(BaseModel):
    """Log probabilities (natural logarithm) in the shape of OpenAI's legacy completions."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


FinishReason = Literal["stop", "length"]


class PromptLogprob(BaseModel):
    """A token in a place of the prompt; its rank is known if it was among the likeliest."""

    logprob: float
    rank: int | None
    decoded_token: str


class Choice(BaseModel):
    """One text."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = Field(
        None, description="Of each of the prompt's tokens, by token id; the first has none."
    )


class PromptTokensDetails(BaseModel):
    """What became of the prompts' tokens.

    Of a text far beyond the context only the end is read: `unread_characters` are before it, and
    `truncated_tokens` counts what was cut of the rest.
    """

    cached_tokens: int = Field(description="Those found in the cache.")
    truncated_tokens: int = Field(description="Those that were cut off to fit the context.")
    unread_characters: int | None = None


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


class ChatMessage(BaseModel):
    """What the assistant says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatToken(BaseModel):
    """A token of a chat's answer, its log probability and its bytes."""

    token: str
    logprob: float
    bytes: list[int]


class ScoredChatToken(ChatToken):
    """One that was written, and the likeliest in its place."""

    top_logprobs: list[ChatToken]


class ChatLogprobs(BaseModel):
    """Log probabilities in the shape of chat completions."""

    content: list[ScoredChatToken]
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason


class Chat(BaseModel):
    """A chat reply; a streamed one has events of type `chat.completion.chunk`, with `delta`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None


class Embedding(BaseModel):
    """The vector of a text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(
        description="Numbers; with `encoding_format` base64 the bytes of 32-bit floats, encoded."
    )


class Embeddings(BaseModel):
    """Vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class TokenizeReply(BaseModel):
    """Token ids, the text of each (bytes that are no character become U+FFFD), and their number."""

    tokens: list[int]
    texts: list[str]
    count: int
    max_model_len: int = Field(description="Tokens of the model's context.")
    token_strs: list[str] | None = None


class DetokenizeReply(BaseModel):
    """The text of token ids, twice: `prompt` is vLLM's word for it."""

    text: str
    prompt: str


# Where a service has several archives: whether a model is in memory, or scaled to no workers.
ModelState = Literal["loaded", "loading", "put_away", "no_workers"]


class _Model(BaseModel):
    """What every model has."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    version: str


class ModelCard(_Model):
    """What is loaded."""

    checkpoint: str
    parameters: int
    context_length: int
    vocab_size: int
    shape: dict[str, int]
    engine: str
    precision: str
    form: str
    cache: str
    size_bytes: int
    content_sha256: str | None
    quality: dict[str, Any] | None
    structured_outputs: bool
    license: str | None
    defaults: dict[str, float | int | str]
    defaults_rule: str
    examples: list[str]
    limits: dict[str, int | float]
    # At the gateway, as KServe's clients read it.
    name: str | None = None
    ready: bool | None = None
    state: ModelState | None = None


class ListedModel(_Model):
    """A model that is loaded once a request names it, and was not yet: what its archive says."""

    name: str
    ready: bool
    state: ModelState


class ModelList(BaseModel):
    """The models."""

    object: Literal["list"] = "list"
    data: list[ModelCard | ListedModel]


class ErrorDetail(BaseModel):
    """What was wrong, in words, and where."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(BaseModel):
    """Every error, in OpenAI's shape."""

    error: ErrorDetail

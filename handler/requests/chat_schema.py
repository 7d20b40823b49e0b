"""The schema of chat requests, in OpenAI's and vLLM's format."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from handler.requests.base import _Request
from handler.requests.fields import MAX_LOGPROBS, Text, Whole
from handler.requests.schema import CompletionRequest, WritingRequest

MAX_MESSAGES = 1000
# What a request must not contain, and the values that ask for nothing. GPT-2 knows no tools.
TOOL_FIELDS = ("tools", "functions", "function_call", "tool_choice")
TOOL_ROLES = ("tool", "function")
WITHOUT_TOOLS: tuple[Any, ...] = (None, [], "none", "auto")


def _refuse_tools(name: str) -> PydanticCustomError:
    return PydanticCustomError(
        "tools_not_supported",
        "`{name}`: tool calls are not supported. Leave `{name}` out, and say in a message what "
        "you want",
        {"name": name},
    )


def _read_content(content: Any) -> Any:
    """Join text parts to one text, as vLLM does for templates that know no parts."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "input_text", "refusal") or not isinstance(
            text := part.get("refusal" if kind == "refusal" else "text"), str
        ):
            raise PydanticCustomError(
                "content", 'may contain only text parts: {"type": "text", "text": "..."}'
            )
        texts.append(text)
    return "\n".join(texts)


class Message(_Request):
    """One turn of a conversation."""

    role: Text = Field(description="`system`, `user` or `assistant`; the template knows which.")
    content: Annotated[Text | None, BeforeValidator(_read_content)] = Field(
        None, description="A string, or a list of text parts."
    )
    name: Text | None = Field(None, description="The speaker's name, for templates that use it.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_tool_calls(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in ("tool_calls", "function_call"):
                if value.get(name) not in WITHOUT_TOOLS:
                    raise _refuse_tools(name)
            if isinstance(value.get("role"), str) and value["role"] in TOOL_ROLES:
                raise _refuse_tools(f"role: {value['role']}")
        return value

    def for_template(self) -> dict[str, Any]:
        """As a template gets it."""
        message: dict[str, Any] = {"role": self.role, "content": self.content or ""}
        return message if self.name is None else message | {"name": self.name}


class ChatRequest(WritingRequest):
    """Answer a conversation, by the checkpoint's own chat template.

    A model without one answers 400 `no_chat_template`. Without `max_completion_tokens` the answer
    may fill the context. Fields that are not listed are ignored, and named in `x-ignored-fields`.
    """

    other_names = frozenset({*TOOL_FIELDS, "parallel_tool_calls"})
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)] = Field(
        description="The conversation so far.", examples=[[{"role": "user", "content": "Hello"}]]
    )
    max_completion_tokens: Whole | None = Field(
        None, ge=0, description="Most tokens to generate; overrides `max_tokens`."
    )
    logprobs: bool | None = Field(None, description="Return the log probability of each token.")
    top_logprobs: Whole | None = Field(
        None,
        ge=0,
        le=MAX_LOGPROBS,
        description=("With `logprobs`: this many of the likeliest tokens too."),
    )
    add_generation_prompt: bool | None = Field(
        None, description="False leaves out the beginning of the assistant's turn."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_tools(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in TOOL_FIELDS:
                if value.get(name) not in WITHOUT_TOOLS:
                    raise _refuse_tools(name)
        return value

    @model_validator(mode="after")
    def _check_logprobs(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError("top_logprobs", "`top_logprobs` needs `logprobs`: true")
        return self

    def as_completion(self, prompt: str, context_length: int) -> CompletionRequest:
        """The completion that answers: of the rendered prompt, to which no token is added."""
        shared = {name: getattr(self, name) for name in WritingRequest.model_fields}
        most = self.max_tokens
        if self.max_completion_tokens is not None:
            most = self.max_completion_tokens
        if most is None and self.max_length is None:
            most = context_length
        shared |= {"prompt": prompt, "max_tokens": most, "add_special_tokens": False}
        shared["logprobs"] = (self.top_logprobs or 0) if self.logprobs else None
        return CompletionRequest.model_construct(**shared)

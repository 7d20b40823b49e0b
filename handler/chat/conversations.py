"""Chat replies: what a completion of a rendered conversation looks like to a chat client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from handler.archive_metadata import CHAT_TEMPLATE, ArchiveMetadata, read_json
from handler.engine.errors import ModelError
from handler.engine.output import LogprobEntry
from handler.engine.step import TokenLogprob
from handler.engine.vocabulary import Vocabulary
from handler.errors import BadRequest
from handler.replies.reply import ReplyHead
from handler.requests.chat_schema import ChatRequest, Message
from handler.requests.prompt_reader import PromptText
from handler.requests.schema import CompletionRequest

if TYPE_CHECKING:
    from handler.chat.chat_template import ChatTemplate

Json = dict[str, Any]
TOKEN_NAMES = (
    *("bos_token", "eos_token", "unk_token", "pad_token"),
    *("cls_token", "sep_token", "mask_token"),
)


class ChatLogprobs:
    """Log probabilities in the shape of chat completions."""

    def __init__(self, vocabulary: Vocabulary, prompt: PromptText) -> None:
        self._vocabulary = vocabulary

    def prompt(self, logprobs: list[TokenLogprob | None], top: int) -> Json:
        """Those of the prompt: a chat shows none."""
        return {"content": []}

    def written(self, entries: list[LogprobEntry]) -> Json:
        """Those of tokens that were written."""
        content = []
        for entry in entries:
            found = entry.logprob
            if found is None:  # pragma: no cover (a chat asks for all of them)
                continue
            top = [self._one(token, value) for token, value in found.top]
            content.append(self._one(entry.token, found.logprob) | {"top_logprobs": top})
        return {"content": content}

    def _one(self, token: int, logprob: float) -> Json:
        raw = self._vocabulary.bytes_of(token)
        return {
            "token": self._vocabulary.symbol(token),
            "logprob": logprob,
            "bytes": list(raw),
        }


class ChatHead(ReplyHead):
    """Every part of a chat reply begins with it; choices take the shape of messages."""

    prefix = "chatcmpl-"
    whole_object = "chat.completion"
    event_object = "chat.completion.chunk"
    writer = ChatLogprobs

    def whole_choice(self, choice: Json) -> Json:
        """See `ReplyHead.whole_choice`."""
        message = {"role": "assistant", "content": choice["text"], "refusal": None}
        return self._choice(choice, "message", message)

    def event_choice(self, choice: Json, *, begins: bool) -> Json:
        """See `ReplyHead.event_choice`: the first event of a choice says whose turn it is."""
        delta: Json = {"role": "assistant"} if begins else {}
        if begins or choice["text"]:
            delta["content"] = choice["text"]
        return self._choice(choice, "delta", delta)

    @staticmethod
    def _choice(choice: Json, name: str, value: Json) -> Json:
        logprobs = choice["logprobs"]
        return {
            "index": choice["index"],
            name: value,
            "logprobs": None if logprobs is None else {**logprobs, "refusal": None},
            "finish_reason": choice["finish_reason"],
        }


class Conversations:
    """Turns chat requests into completions, if the archive has a template for that."""

    def __init__(self, template: ChatTemplate | None, context_length: int) -> None:
        self._template = template
        self._context_length = context_length

    @property
    def has_template(self) -> bool:
        """Whether there is one."""
        return self._template is not None

    @classmethod
    def load(cls, model: Path, metadata: ArchiveMetadata, vocabulary: Vocabulary) -> Conversations:
        """Read the archive's template.

        Raises:
            ModelError: It is none.
        """
        path = model / CHAT_TEMPLATE
        if not path.is_file():
            return cls(None, metadata.context_length)
        try:
            source = path.read_text(encoding="utf-8")
        except ValueError:
            raise ModelError(f"{CHAT_TEMPLATE} is not UTF-8") from None
        config = model / "tokenizer_config.json"
        named = read_json(config) if config.is_file() else {}
        end = next(iter(metadata.tokens.end), metadata.bos_token)
        tokens = {
            "bos_token": vocabulary.symbol(metadata.bos_token),
            "eos_token": vocabulary.symbol(end),
        }
        for name in TOKEN_NAMES:
            if name in named:
                tokens.pop(name, None)
                value = named[name]
                value = value.get("content") if isinstance(value, dict) else value
                if isinstance(value, str):
                    tokens[name] = value
        # Jinja takes 4 MB: only where there is a template.
        from handler.chat.chat_template import ChatTemplate

        return cls(ChatTemplate(source, tokens), metadata.context_length)

    def as_completion(self, request: ChatRequest, now: int) -> CompletionRequest:
        """The completion that answers a conversation.

        Raises:
            BadRequest: The model has no template, or its template refuses the messages.
        """
        answers = request.add_generation_prompt is not False
        prompt = self.render(request.messages, now, answers=answers)
        return request.as_completion(prompt, self._context_length)

    def render(self, messages: list[Message], now: int, *, answers: bool) -> str:
        """The prompt that a conversation makes; see `ChatTemplate.render`.

        Raises:
            BadRequest: The model has no template, or its template refuses the messages.
        """
        if self._template is None:
            raise BadRequest(
                "This model has no chat template: send prompts to /v1/completions. One "
                "is given when the model is packed: ./scripts/package_model --chat-template FILE",
                param="messages",
                code="no_chat_template",
            )
        given = [message.for_template() for message in messages]
        return self._template.render(given, now, answers=answers)

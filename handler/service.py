"""GPT-2 as a service without a transport: a body and a route in, a reply out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from handler.archive_metadata import ArchiveMetadata, Defaults
from handler.card import DEFAULTS_RULE, model_card
from handler.chat.conversations import ChatHead, Conversations
from handler.content.json_text import to_json, to_json_in_chunks
from handler.engine.engine import Engine
from handler.engine.errors import ModelError, QueueFull
from handler.engine.grammar import Grammars
from handler.engine.model import Model
from handler.engine.settings import EngineSettings
from handler.engine.vocabulary import Vocabulary
from handler.errors import BadRequest, NotFound, TooBusy
from handler.replies import sideband
from handler.replies.embedding_reply import EmbeddingReply
from handler.replies.generated import TokenShapes
from handler.replies.generated_stream import GeneratedStreamReply, TextOutputStreamReply
from handler.replies.live_reply import LiveReply
from handler.replies.prediction_reply import PredictionReply
from handler.replies.reply import JsonReply, Reply, ReplyHead, WholeReply
from handler.replies.sideband import Identity
from handler.replies.stream import StreamReply
from handler.requests import ignored
from handler.requests.base import AnyRequest, unknown_fields
from handler.requests.chat_schema import ChatRequest
from handler.requests.embedding_schema import MAX_INPUTS, EmbeddingRequest
from handler.requests.embeddings import EmbeddingPreparer
from handler.requests.fields import MAX_LOGPROBS, MAX_STOP
from handler.requests.prepare import (
    LOGPROB_BYTES,
    MAX_LOGPROB_ENTRIES,
    Prepared,
    Preparer,
)
from handler.requests.prompt_reader import PromptReader
from handler.requests.prompts import naming
from handler.requests.question import COMPLETION, TEXT_OUTPUT, Asked, Question
from handler.requests.resume import Resume
from handler.requests.schema import (
    CompletionRequest,
    parse_json,
    unknown_field,
    validate,
)
from handler.requests.token_schema import DetokenizeRequest, TokenizeRequest
from handler.start_checks import files_compared, load_and_test
from handler.tokens import Tokens


class Service:
    """One loaded archive: its engine and the routes on it."""

    def __init__(
        self,
        name: str,
        version: str,
        metadata: ArchiveMetadata,
        defaults: Defaults,
        vocabulary: Vocabulary,
        model: Model,
        settings: EngineSettings,
        conversations: Conversations,
        *,
        max_logprobs: int = MAX_LOGPROB_ENTRIES,
        strict_fields: bool = False,
    ) -> None:
        self.name = name
        self.engine = Engine(model, settings)
        # Digest of what the model wrote when it was loaded.
        self.self_test = ""
        self._version = version
        self._metadata = metadata
        self._isa = model.isa
        self._defaults = defaults
        self._vocabulary = vocabulary
        self._conversations = conversations
        self._tokens = Tokens(vocabulary, metadata, conversations)
        self._settings = settings
        self._strict_fields = strict_fields
        self._shapes = TokenShapes(metadata.end_tokens, metadata.end_tokens | metadata.delimiters)
        reader = PromptReader(vocabulary, metadata)
        self._embeddings = EmbeddingPreparer(
            reader, model.shape.width, max_logprobs * LOGPROB_BYTES, settings.deadline_seconds
        )
        self._grammars = Grammars(vocabulary, metadata.end_tokens, metadata.vocab_size)
        self._preparer = Preparer(
            reader,
            self._grammars,
            defaults,
            max_sequences=settings.slots + settings.max_waiting,
            max_logprobs=max_logprobs,
            deadline_seconds=settings.deadline_seconds,
        )

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        name: str,
        version: str,
        config: Mapping[str, Any],
        max_tokens: int,
        overrides: Mapping[str, Any] | None = None,
        max_logprobs: int = MAX_LOGPROB_ENTRIES,
        strict_fields: bool = False,
        is_checked: bool = True,
    ) -> Service:
        """Load an unpacked archive and generate a few tokens with it, so that what follows is warm.

        Args:
            directory: The archive's root.
            name: The model's name in replies.
            version: Its version.
            config: model-config.yaml.
            max_tokens: The default of requests.
            overrides: Settings of the engine that take the place of `config`'s.
            max_logprobs: Log probabilities that one reply may hold.
            strict_fields: Refuse fields of a request that are not known.
            is_checked: Compare its files and those tokens with what they were when it was packed.

        Raises:
            ModelError: Says in one line why the archive cannot be served.
        """
        engine = config.get("engine") or {}
        if not isinstance(engine, Mapping):
            raise ModelError("engine in model-config.yaml must hold settings, such as `slots: 32`")
        settings = EngineSettings.from_mapping({**engine, **(overrides or {})})
        model_directory = directory / "model"
        metadata = ArchiveMetadata.read(model_directory)
        with files_compared(directory, metadata.files if is_checked else {}):
            vocabulary = Vocabulary.load(
                model_directory / "tokenizer.json",
                metadata.vocab_size,
                metadata.delimiters,
                splits_special_tokens=metadata.splits_special_tokens,
            )
            model, self_test = load_and_test(model_directory, metadata, settings, is_checked)
            defaults = Defaults.read(model_directory, min(max_tokens, metadata.context_length))
            defaults = replace(defaults, logprobs_mode=settings.logprobs_mode)
        service = cls(
            name,
            version,
            metadata,
            defaults,
            vocabulary,
            model,
            settings,
            Conversations.load(model_directory, metadata, vocabulary),
            max_logprobs=max_logprobs,
            strict_fields=strict_fields,
        )
        service.self_test = self_test
        service.engine.start()
        return service

    def complete(
        self,
        request_id: str,
        body: Any,
        identity: Identity | None = None,
        *,
        framed: bool = False,
    ) -> Reply:
        """Judge what `body` (parsed JSON) asks for; its reply is `framed` for the gateway.

        `identity` is what the reply is called.

        Raises:
            RequestError: It is not allowed.
        """
        resume = _take_resume(body) if framed else None
        request, unknown = self._read(CompletionRequest, body)
        identity = identity or Identity.new()
        head = self._head(ReplyHead, identity, resume)
        request = _seeded(request, identity)
        return self._begin(request_id, request, head, unknown, framed=framed, resume=resume)

    def chat(
        self,
        request_id: str,
        body: Any,
        identity: Identity | None = None,
        *,
        framed: bool = False,
    ) -> Reply:
        """As `complete`, for a conversation.

        Raises:
            RequestError: It is not allowed, or the model has no chat template.
        """
        resume = _take_resume(body) if framed else None
        asked, unknown = self._read(ChatRequest, body)
        identity = identity or Identity.new()
        head = self._head(ChatHead, identity, resume)
        request = _seeded(self._conversations.as_completion(asked, head.created), identity)
        with naming("messages"):
            return self._begin(request_id, request, head, unknown, framed=framed, resume=resume)

    def embed(self, request_id: str, body: Any, *, framed: bool = False) -> EmbeddingReply:
        """As `complete`, for vectors of texts.

        Raises:
            RequestError: It is not allowed.
        """
        request, unknown = self._read(EmbeddingRequest, body)
        prepared = self._embeddings.prepare(request_id, request)
        reply = EmbeddingReply(self.name, prepared, framed=framed)
        reply.ignored_fields = unknown
        return reply

    def _begin(
        self,
        request_id: str,
        request: CompletionRequest,
        head: ReplyHead,
        unknown: str,
        *,
        framed: bool,
        resume: Resume | None,
    ) -> Reply:
        """Turn a request into sequences, and into the reply that waits for them."""
        prepared = self._preparer.prepare(request_id, request, resume)
        reply: Reply
        if request.stream:
            reply = StreamReply(
                head,
                prepared,
                self._vocabulary,
                request.stream_options,
                framed=framed,
                resume=resume,
            )
        else:
            n = request.n or 1
            reply = JsonReply(head, prepared, self._vocabulary, n=n, framed=framed)
        reply.ignored_fields = unknown
        return reply

    def predict(
        self,
        request_id: str,
        question: Question,
        identity: Identity | None = None,
        *,
        framed: bool = False,
    ) -> LiveReply:
        """Judge what a prediction asks for; `identity` as in `complete`.

        Raises:
            RequestError: It is not allowed.
        """
        first = question.asked[0]
        if question.streams and first.form == COMPLETION:
            return self.complete(request_id, first.request, identity, framed=framed)
        identity = identity or Identity.new()
        read = [self._read_item(question, number) for number in range(len(question.asked))]
        requests = [_seeded(request, identity) for request, _ in read]
        prepared = self._preparer.prepare_all(request_id, requests)
        parts = [
            JsonReply(
                self._head(ReplyHead, identity.of_item(number)),
                each,
                self._vocabulary,
                n=request.n or 1,
            )
            for number, (request, each) in enumerate(zip(requests, prepared, strict=True))
        ]
        reply: PredictionReply | GeneratedStreamReply
        if question.streams:
            head = self._head(ReplyHead, identity)
            reply = self._generated_stream(head, prepared[0], first, framed=framed)
        else:
            reply = PredictionReply(
                question, parts, self._shapes, version=self._version, framed=framed
            )
        reply.ignored_fields = ignored.together(unknown for _, unknown in read)
        return reply

    def _generated_stream(
        self, head: ReplyHead, prepared: Prepared, asked: Asked, *, framed: bool
    ) -> GeneratedStreamReply:
        given = (head, prepared, self._vocabulary, asked, self._shapes)
        if asked.form == TEXT_OUTPUT:
            return TextOutputStreamReply(*given, version=self._version, framed=framed)
        return GeneratedStreamReply(*given, framed=framed)

    def submit(self, reply: LiveReply) -> None:
        """Have the sequences of a reply generated; its outputs may come with the next step.

        Raises:
            TooBusy: There is no room.
        """
        try:
            self.engine.submit(reply.sequences)
        except QueueFull as full:
            raise TooBusy(str(full), code="queue_full") from None

    def answer(self, route: str, body: bytes | str | Any) -> WholeReply:
        """Answer a question that needs no generation: v1/models, v1/tokenize, v1/detokenize.

        Raises:
            RequestError: The route does not exist or the body is wrong.
        """
        if route == "v1/models":
            return WholeReply(to_json({"object": "list", "data": [self.card()]}))
        value = parse_json(body)
        if route == "v1/tokenize":
            asked, unknown = self._read(TokenizeRequest, value)
            return WholeReply(to_json_in_chunks(self._tokens.of(asked)), ignored_fields=unknown)
        if route == "v1/detokenize":
            ids, unknown = self._read(DetokenizeRequest, value)
            return WholeReply(to_json(self._tokens.text_of(ids)), ignored_fields=unknown)
        raise NotFound(
            f"There is no route {route[:100]!r}; there are v1/completions, v1/chat/completions, "
            "v1/embeddings, v1/models, v1/tokenize and v1/detokenize"
        )

    def _read(self, model: type[AnyRequest], value: Any) -> tuple[AnyRequest, str]:
        """Check a body; the names of fields that are ignored, as the header has them, beside it.

        Raises:
            BadRequest: A value is not allowed, or a field where none may be ignored.
        """
        request = validate(model, value)
        unknown = list(unknown_fields(request, value))
        if unknown and self._strict_fields:
            raise unknown_field(unknown[0])
        return request, ignored.header_value(unknown)

    def _read_item(self, question: Question, number: int) -> tuple[CompletionRequest, str]:
        """As `_read`, of what is asked; an error names its place in a list."""
        try:
            return self._read(CompletionRequest, question.asked[number].request)
        except BadRequest as error:
            if question.is_list:
                error.message = f"In item {number} of the list: {error.message}"
            raise

    def _head(
        self, kind: type[ReplyHead], identity: Identity, resume: Resume | None = None
    ) -> ReplyHead:
        if resume is not None:
            return kind(resume.id, resume.created, self.name)
        return kind(kind.prefix + identity.id, identity.created, self.name)

    def card(self) -> dict[str, Any]:
        """What is loaded, for v1/models."""
        return {
            **model_card(self.name, self._version, self._metadata, self._settings.kind, self._isa),
            "chat_template": self._conversations.has_template,
            "structured_outputs": not self._grammars.fault,
            "defaults": asdict(self._defaults),
            "defaults_rule": DEFAULTS_RULE,
            "limits": {
                "texts": self._preparer.max_sequences,
                "inputs": MAX_INPUTS,
                "inputs_at_once": self.engine.embedded_at_once,
                "stop": MAX_STOP,
                "logprobs": MAX_LOGPROBS,
                "logprob_entries": self._preparer.max_logprobs,
                "slots": self._settings.slots,
                "waiting": self._settings.max_waiting,
                "deadline_seconds": self._settings.deadline_seconds,
            },
        }


def _seeded(request: CompletionRequest, identity: Identity) -> CompletionRequest:
    """A request for a stream has a seed: the head of its reply may have told it already."""
    if request.seed is not None or not request.stream:
        return request
    return request.model_copy(update={"seed": identity.seed})


def _take_resume(body: Any) -> Resume | None:
    """What the gateway says, in a body, of a stream that is to go on."""
    if isinstance(body, dict) and sideband.RESUME in body:
        return Resume.read(body.pop(sideband.RESUME))
    return None

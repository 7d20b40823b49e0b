"""GPT-2 as a service without a transport: a body and a route in, a reply out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handler.card import model_card
from handler.chat.conversations import ChatHead
from handler.content.json_text import to_json
from handler.engine.engine import Engine
from handler.engine.errors import QueueFull
from handler.engine.grammar import Grammars
from handler.errors import BadRequest, TooBusy
from handler.loaded_archive import LoadedArchive, engine_settings
from handler.replies import sideband
from handler.replies.embedding_reply import EmbeddingReply
from handler.replies.generated import TokenShapes
from handler.replies.generated_stream import GeneratedStreamReply, generated_stream
from handler.replies.pending_reply import PendingReply
from handler.replies.prediction_reply import PredictionReply
from handler.replies.reply import JsonReply, Reply, ReplyHead, WholeReply
from handler.replies.sideband import Identity
from handler.replies.stream import StreamReply
from handler.requests import ignored
from handler.requests.chat_schema import ChatRequest
from handler.requests.embedding_schema import MAX_INPUTS, EmbeddingRequest
from handler.requests.embeddings import EmbeddingPreparer
from handler.requests.fields import MAX_LOGPROBS, MAX_STOP
from handler.requests.prepare import LOGPROB_BYTES, MAX_LOGPROB_ENTRIES, Preparer
from handler.requests.prompt_reader import PromptReader
from handler.requests.prompts import naming
from handler.requests.question import COMPLETION, Question
from handler.requests.resume import Resume
from handler.requests.schema import CompletionRequest
from handler.requests.validation import read
from handler.token_routes import TokenRoutes
from handler.tokens import Tokens


class Service:
    """One loaded archive: its engine and the routes on it."""

    def __init__(
        self,
        name: str,
        version: str,
        archive: LoadedArchive,
        *,
        max_logprobs: int = MAX_LOGPROB_ENTRIES,
        strict_fields: bool = False,
    ) -> None:
        self.name = name
        self.engine = Engine(archive.model, archive.settings)
        self.self_test = archive.self_test
        self._version = version
        self._archive = archive
        self._conversations = archive.conversations
        self._vocabulary = archive.vocabulary
        self._strict_fields = strict_fields
        metadata, settings = archive.metadata, archive.settings
        tokens = Tokens(archive.vocabulary, metadata, archive.conversations)
        self._token_routes = TokenRoutes(tokens, is_strict=strict_fields)
        self._shapes = TokenShapes(metadata.end_tokens, metadata.end_tokens | metadata.delimiters)
        self._grammars = Grammars(archive.vocabulary, metadata.end_tokens, metadata.vocab_size)
        reader = PromptReader(archive.vocabulary, metadata)
        self._embeddings = EmbeddingPreparer(
            reader, metadata.shape.width, max_logprobs * LOGPROB_BYTES, settings.deadline_seconds
        )
        self._preparer = Preparer(
            reader,
            self._grammars,
            archive.defaults,
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
        """Load an unpacked archive, and begin to serve it.

        Args:
            directory: The archive's root.
            name: The model's name in replies.
            version: Its version.
            config: model-config.yaml.
            max_tokens: The default of requests.
            overrides: Settings of the engine that take the place of `config`'s.
            max_logprobs: Log probabilities that one reply may hold.
            strict_fields: Refuse fields of a request that are not known.
            is_checked: See `LoadedArchive.load`.

        Raises:
            ModelError: Says in one line why the archive cannot be served.
        """
        settings = engine_settings(config, overrides or {})
        archive = LoadedArchive.load(
            directory, settings, max_tokens=max_tokens, is_checked=is_checked
        )
        service = cls(
            name, version, archive, max_logprobs=max_logprobs, strict_fields=strict_fields
        )
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
        return self._write(request_id, CompletionRequest, body, identity, framed=framed)

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
        return self._write(request_id, ChatRequest, body, identity, framed=framed)

    def _write(
        self,
        request_id: str,
        kind: type[CompletionRequest | ChatRequest],
        body: Any,
        identity: Identity | None,
        *,
        framed: bool,
    ) -> Reply:
        """Turn a request into sequences, and into the reply that waits for them."""
        resume = Resume.take(body, sideband.RESUME) if framed else None
        request, unknown = read(kind, body, is_strict=self._strict_fields)
        identity = identity or Identity.new()
        if isinstance(request, ChatRequest):
            source, head = "messages", self._head(ChatHead, identity, resume)
            request = self._conversations.as_completion(request, head.created)
        else:
            source, head = "prompt", self._head(ReplyHead, identity, resume)
        request = _seeded(request, identity)
        with naming(source):
            prepared = self._preparer.prepare(request_id, request, resume)
        reply: Reply
        if request.stream:
            options = request.stream_options
            reply = StreamReply(
                head, prepared, self._vocabulary, options, framed=framed, resume=resume
            )
        else:
            n = request.n or 1
            reply = JsonReply(head, prepared, self._vocabulary, n=n, framed=framed)
        reply.ignored_fields = unknown
        return reply

    def embed(self, request_id: str, body: Any, *, framed: bool = False) -> EmbeddingReply:
        """As `complete`, for vectors of texts.

        Raises:
            RequestError: It is not allowed.
        """
        request, unknown = read(EmbeddingRequest, body, is_strict=self._strict_fields)
        prepared = self._embeddings.prepare(request_id, request)
        reply = EmbeddingReply(self.name, prepared, framed=framed)
        reply.ignored_fields = unknown
        return reply

    def predict(
        self,
        request_id: str,
        question: Question,
        identity: Identity | None = None,
        *,
        framed: bool = False,
    ) -> PendingReply:
        """Judge what a prediction asks for; `identity` as in `complete`.

        Raises:
            RequestError: It is not allowed.
        """
        first = question.asked[0]
        if question.streams and first.format == COMPLETION:
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
            for number, (request, each) in enumerate(zip(requests, prepared))
        ]
        reply: PredictionReply | GeneratedStreamReply
        if question.streams:
            reply = generated_stream(
                self._head(ReplyHead, identity),
                prepared[0],
                self._vocabulary,
                first,
                self._shapes,
                version=self._version,
                framed=framed,
            )
        else:
            reply = PredictionReply(
                question, parts, self._shapes, version=self._version, framed=framed
            )
        reply.ignored_fields = ignored.together(unknown for _, unknown in read)
        return reply

    def submit(self, reply: PendingReply) -> None:
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
        return self._token_routes.answer(route, body)

    def _read_item(self, question: Question, number: int) -> tuple[CompletionRequest, str]:
        """As `read`, of what is asked; an error names its place in a list."""
        try:
            asked = question.asked[number].request
            return read(CompletionRequest, asked, is_strict=self._strict_fields)
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
        settings = self._archive.settings
        limits = {
            "texts": self._preparer.max_sequences,
            "inputs": MAX_INPUTS,
            "inputs_at_once": self.engine.embedded_at_once,
            "stop": MAX_STOP,
            "logprobs": MAX_LOGPROBS,
            "logprob_entries": self._preparer.max_logprobs,
            "slots": settings.slots,
            "waiting": settings.max_waiting,
            "deadline_seconds": settings.deadline_seconds,
        }
        return model_card(
            self.name,
            self._version,
            self._archive,
            structured_outputs=not self._grammars.fault,
            limits=limits,
        )


def _seeded(request: CompletionRequest, identity: Identity) -> CompletionRequest:
    """A request for a stream has a seed: the head of its reply may have named it already."""
    if request.seed is not None or not request.stream:
        return request
    return request.model_copy(update={"seed": identity.seed})

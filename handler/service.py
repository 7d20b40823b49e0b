"""GPT-2 as a service without a transport: a body and a route in, a reply out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from handler.archive_facts import ArchiveFacts, Defaults, read_json
from handler.engine.engine import Engine
from handler.engine.model import Model, ModelShape, load_model
from handler.engine.settings import EngineSettings
from handler.engine.vocabulary import Vocabulary
from handler.errors import BadRequest, ModelError, NotFound
from handler.fields import MAX_LOGPROBS, MAX_N, MAX_PROMPTS, MAX_STOP
from handler.prepare import MAX_LOGPROB_ENTRIES, Preparer
from handler.replies import JsonReply, Reply, ReplyHead, StreamReply, TextReply, to_json
from handler.schema import (
    CompletionRequest,
    DetokenizeRequest,
    TokenizeRequest,
    parse_json,
    validate,
)


class Service:
    """One loaded archive: its engine and the routes on it."""

    def __init__(
        self,
        name: str,
        version: str,
        facts: ArchiveFacts,
        defaults: Defaults,
        vocabulary: Vocabulary,
        model: Model,
        settings: EngineSettings,
    ) -> None:
        self.name = name
        self.engine = Engine(model, settings)
        self._version = version
        self._facts = facts
        self._shape = model.shape
        self._defaults = defaults
        self._vocabulary = vocabulary
        self._settings = settings
        self._preparer = Preparer(
            vocabulary,
            facts,
            defaults,
            max_sequences=min(MAX_PROMPTS, settings.slots + settings.max_waiting),
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
        threads: int = 0,
    ) -> Service:
        """Load an unpacked archive and generate a token with it, so that what follows is warm.

        Args:
            directory: The archive's root.
            name: The model's name in replies.
            version: Its version.
            config: model-config.yaml.
            max_tokens: The default of requests.
            threads: Threads of the model, if not those of `config`.

        Raises:
            ModelError: Says in one line why the archive can not be served.
        """
        engine = config.get("engine") or {}
        if not isinstance(engine, Mapping):
            raise ModelError("engine in model-config.yaml must hold settings, such as `slots: 32`")
        override = {"threads": threads} if threads else {}
        settings = EngineSettings.from_mapping({**engine, **override})
        model_directory = directory / "model"
        checkpoint = read_json(model_directory / "config.json")
        shape = ModelShape.from_config(checkpoint)
        facts = ArchiveFacts.read(model_directory, checkpoint)
        vocabulary = Vocabulary.load(
            model_directory / "tokenizer.json",
            shape.vocab_size,
            facts.delimiters,
            splits_special_tokens=facts.splits_special_tokens,
        )
        try:
            model = load_model(model_directory, shape, settings)
            warm_up(model, facts.bos_token)
        except ModelError:
            raise
        except Exception as error:  # no memory for the cache, or graph and config disagree
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"the model can not be started: {reason}") from error
        defaults = Defaults.read(model_directory, min(max_tokens, shape.max_length))
        service = cls(name, version, facts, defaults, vocabulary, model, settings)
        service.engine.start()
        return service

    def complete(self, request_id: str, body: Any) -> Reply:
        """Begin to write what `body` (parsed JSON) asks for.

        Raises:
            RequestError: It is not allowed, or there is no room.
        """
        request = validate(CompletionRequest, body)
        return self._begin(request_id, request, text=False)

    def complete_text(self, request_id: str, prompt: str) -> Reply:
        """Begin to go on with a plain text; the reply is plain text too."""
        return self._begin(request_id, validate(CompletionRequest, {"prompt": prompt}), text=True)

    def _begin(self, request_id: str, request: CompletionRequest, *, text: bool) -> Reply:
        prepared = self._preparer.prepare(request_id, request)
        head = ReplyHead(f"cmpl-{uuid.uuid4().hex}", int(time.time()), self.name)
        reply: Reply
        if text:
            reply = TextReply(head, prepared, self._vocabulary)
        elif request.stream:
            include_usage = bool(request.stream_options and request.stream_options.include_usage)
            reply = StreamReply(head, prepared, self._vocabulary, include_usage=include_usage)
        else:
            reply = JsonReply(head, prepared, self._vocabulary)
        self.engine.submit(prepared.sequences)
        return reply

    def answer(self, route: str, body: bytes | str | Any) -> str:
        """Answer a question that needs no generation: v1/models, v1/tokenize, v1/detokenize.

        Raises:
            RequestError: The route does not exist or the body is wrong.
        """
        if route == "v1/models":
            return to_json({"object": "list", "data": [self.card()]})
        value = parse_json(body)
        if route == "v1/tokenize":
            asked = validate(TokenizeRequest, value)
            add = asked.add_special_tokens is not False
            tokens = self._vocabulary.encode(asked.text, add_special_tokens=add)
            texts = [self._vocabulary.decode([t], skip_special_tokens=False) for t in tokens]
            return to_json({"tokens": tokens, "texts": texts, "count": len(tokens)})
        if route == "v1/detokenize":
            given = validate(DetokenizeRequest, value)
            if any(token >= self._vocabulary.size for token in given.tokens):
                raise BadRequest(
                    f"`tokens` must be ids from 0 to {self._vocabulary.size - 1}",
                    param="tokens",
                    code="unknown_token",
                )
            skip = given.skip_special_tokens
            text = self._vocabulary.decode(given.tokens, skip_special_tokens=skip)
            return to_json({"text": text})
        raise NotFound(
            f"There is no route {route[:100]!r}; there are v1/completions, v1/models, v1/tokenize "
            "and v1/detokenize"
        )

    def card(self) -> dict[str, Any]:
        """What is loaded, for v1/models."""
        facts, shape, settings = self._facts, self._shape, self._settings
        return {
            "id": self.name,
            "object": "model",
            "created": facts.created,
            "owned_by": "gpt2-torchserve",
            "version": self._version,
            "checkpoint": facts.checkpoint,
            "parameters": facts.parameters,
            "context_length": facts.context_length,
            "vocab_size": facts.vocab_size,
            "shape": {"layers": shape.layers, "heads": shape.heads, "width": shape.width},
            "engine": settings.kind,
            "precision": facts.precision,
            "cache": facts.cache,
            "size_bytes": facts.size_bytes,
            "content_sha256": facts.content_sha256,
            "quality": facts.quality,
            "license": facts.license,
            "defaults": asdict(self._defaults),
            "examples": list(facts.examples),
            "limits": {
                "n": MAX_N,
                "prompts": MAX_PROMPTS,
                "stop": MAX_STOP,
                "logprobs": MAX_LOGPROBS,
                "logprob_entries": MAX_LOGPROB_ENTRIES,
                "slots": settings.slots,
                "waiting": settings.max_waiting,
                "deadline_seconds": settings.deadline_seconds,
            },
        }


def warm_up(model: Model, token: int) -> None:
    """Compute a prompt and a token, so that the first request finds everything touched."""
    tokens = np.full(2, token, np.int64)
    model.prefill(0, tokens, 0, 1)
    model.decode(tokens[:1], np.array([2], np.int64))

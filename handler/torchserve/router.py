"""Routes a request from TorchServe to the service's method; a refusal becomes a reply."""

from __future__ import annotations

import logging
from typing import Any

from handler.content.charsets import parse_content_type
from handler.content.json_text import to_json
from handler.errors import NO_EXPLANATIONS, BadRequest, EngineFailure, RequestError, Unserved
from handler.replies import sideband
from handler.replies.error_replies import (
    error_body,
    in_kserves_words,
    in_torchserves_words,
    status_of,
)
from handler.replies.pending_reply import PendingReply
from handler.replies.reply import WholeReply
from handler.requests.validation import parse_json
from handler.service import Service
from handler.torchserve import parameters
from handler.torchserve.descriptions import Descriptions
from handler.torchserve.grpc_calls import ASK_OVER_HTTP, came_by_grpc, refuse_tensors

logger = logging.getLogger(__name__)

COMPLETIONS, CHATS, EMBEDDINGS = "v1/completions", "v1/chat/completions", "v1/embeddings"


class Router:
    """The routes of one service.

    Args:
        service: The service.
        secret: What the gateway proves itself with; empty without a gateway.
        is_continuous: Whether TorchServe batches continuously.
        rows_can_wait: Whether a request may be left out of a step's reply.
    """

    def __init__(
        self, service: Service, secret: str, *, is_continuous: bool, rows_can_wait: bool
    ) -> None:
        self._service = service
        self._secret = secret
        self._is_continuous = is_continuous
        self._rows_can_wait = rows_can_wait
        self._descriptions = Descriptions()

    def begin(
        self, request_id: str, row: dict[str, Any], headers: dict[str, Any]
    ) -> WholeReply | PendingReply | None:
        """Judge a new request; a refusal is its reply. None: it is to be asked again later."""
        lower = parameters.text_headers(headers)
        try:
            return self._route(request_id, row, headers, lower)
        except RequestError as error:
            fault = error
        except Exception:
            logger.exception("a request could not be started")
            fault = RequestError("The request could not be served", code="internal_error")
        if parameters.came_by_kserves_routes(lower):
            status = status_of(fault)
            body = to_json(in_kserves_words(fault))
            return WholeReply(body, int(status), status.phrase)
        return refusal(fault, is_framed=sideband.HEADER in lower)

    def _route(
        self,
        request_id: str,
        row: dict[str, Any],
        headers: dict[str, Any],
        lower: dict[str, str],
    ) -> WholeReply | PendingReply | None:
        if lower.get("describe") == "True" and "url_path" not in lower:
            is_asked_again = self._descriptions.is_repeated(request_id)
            waits = is_asked_again and self._rows_can_wait
            return None if waits else WholeReply(describe(self._service))
        if lower.get("explain") == "True":
            raise Unserved(NO_EXPLANATIONS)
        if not row and not parse_content_type(lower.get("content-type", "")).is_form:
            # TorchServe put a request that it had begun back into its queue, without the body.
            raise EngineFailure("The request was lost; please send it again", code="lost_request")
        if came_by_grpc(headers):
            return self._begin_call(request_id, row)
        given = lower.get(sideband.HEADER)
        if given is not None and not sideband.is_asked_for(given, self._secret):
            raise BadRequest(
                f"The header `{sideband.HEADER}` is reserved for the gateway; leave it out",
                param=sideband.HEADER,
                code="reserved_header",
            )
        route, framed = lower.get("url_path", "").strip("/"), given is not None
        name = lower.get(sideband.IDENTITY_HEADER) if framed else None
        identity = sideband.Identity.read(name) if name else sideband.Identity.new()
        body = row.get("body", row.get("data", b""))
        if route == COMPLETIONS:
            return self._service.complete(request_id, parse_json(body), identity, framed=framed)
        if route == CHATS:
            return self._service.chat(request_id, parse_json(body), identity, framed=framed)
        if route == EMBEDDINGS:
            return self._service.embed(request_id, parse_json(body), framed=framed)
        if route:
            return self._service.answer(route, body)
        question = parameters.read(row, headers)
        return self._service.predict(request_id, question, identity, framed=framed)

    def _begin_call(self, request_id: str, row: dict[str, Any]) -> WholeReply | PendingReply:
        """Begin what came over gRPC."""
        refused = refuse_tensors(row.get("body", row.get("data")))
        if refused is not None:
            return refused
        if self._is_continuous and not self._rows_can_wait:
            raise Unserved(ASK_OVER_HTTP)
        return self._service.predict(request_id, parameters.read_call(row))


def describe(service: Service) -> str:
    """What is loaded, for a description with `customized=true`."""
    return to_json(service.card())


def refusal(error: RequestError, *, is_framed: bool) -> WholeReply:
    """An error as a reply; the gateway knows itself whose clients read what."""
    body = error_body(error)
    if not is_framed:
        body = in_torchserves_words(error) | body
    status = status_of(error)
    return WholeReply(to_json(body), int(status), status.phrase)

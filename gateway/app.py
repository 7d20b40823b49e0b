"""The ASGI application: routes a request, answers what goes wrong, logs how it ended."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router

from gateway.errors import GatewayError, MethodNotAllowed, NotFound, Unavailable, draining
from gateway.routes.admission import Admission
from gateway.settings import Settings
from gateway.web.auth import Guard
from gateway.web.cors import Cors
from gateway.web.exchange import ClientGone, Exchange, Receive, Scope, Send
from gateway.web.logs import PROBE_PATHS, RequestLog
from gateway.web.metrics import Metrics
from gateway.web.recent_errors import RecentErrors
from gateway.web.tracing import Tracing

logger = logging.getLogger("gateway.app")

MODELS, ESCAPED_SLASH = b"/v1/models/", re.compile(rb"%2[fF]")
COMMON_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


class Gateway:
    """The ASGI application."""

    def __init__(
        self,
        settings: Settings,
        routes: Sequence[Route],
        guard: Guard,
        admission: Admission,
        metrics: Metrics,
        tracing: Tracing,
        errors: RecentErrors,
    ) -> None:
        self._write_seconds = settings.write_seconds
        self._cors = Cors(settings)
        self._guard = guard
        self._admission = admission
        self._metrics = metrics
        self._tracing = tracing
        self._errors = errors
        self._log = RequestLog(settings.google_cloud_project)
        self._router = Router(routes, redirect_slashes=False, default=_no_route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and log it."""
        if "exchange" in scope:  # the server has refused it already
            return
        exchange = Exchange(scope, receive, send)
        exchange.reply_headers += COMMON_HEADERS
        scope["exchange"] = exchange
        scope["app"] = self  # has the router raise what it would answer in plain text
        self._find_client(exchange)
        self._tracing.begin(exchange)
        try:
            await self._answer(exchange, scope)
            await exchange.wait_for_reader(self._write_seconds)
        except ClientGone:
            if not exchange.status:
                exchange.record.aborted = "client_gone"
        except asyncio.CancelledError:  # the server ends and waits no longer
            await self._fail_draining(exchange)
        finally:
            self.note(exchange)

    def note(self, exchange: Exchange) -> None:
        """Count, log and trace a request that has ended."""
        self._find_client(exchange)
        self._tracing.end(exchange)
        self._metrics.answered(exchange.record.route, exchange.status or 499)
        self._errors.note(exchange)
        self._log.write(exchange)

    async def _answer(self, exchange: Exchange, scope: Scope) -> None:
        try:
            if self._cors.apply(exchange):
                await self._cors.preflight(exchange)
                return
            if exchange.connection.is_reserved:
                self._keep_for_health(exchange)
            if exchange.path == "*":  # OPTIONS, of the server as such
                await exchange.reply(204, b"")
                return
            if b"%" in _without_hub_id(scope["raw_path"]):
                raise NotFound("There is no such route")
            await self._router(scope, exchange.receive, _no_send)
        except GatewayError as error:
            await self._fail(exchange, error)
        except HTTPException as error:
            fault: GatewayError = NotFound("There is no such route")
            if error.status_code == 405:
                allowed = (error.headers or {}).get("Allow", "")
                fault = MethodNotAllowed(
                    f"{exchange.method} is not allowed on this route; use {allowed}"
                )
                exchange.reply_headers.append((b"allow", allowed.encode()))
            await self._fail(exchange, fault)
        except ClientGone:
            raise
        except Exception:
            logger.exception("A request failed")
            await self._fail(exchange, GatewayError("The gateway failed", code="internal_error"))
        finally:
            self._admission.leave(exchange)

    def _find_client(self, exchange: Exchange) -> None:
        exchange.record.client = self._guard.client_address(exchange.headers, exchange.peer)

    @staticmethod
    def _keep_for_health(exchange: Exchange) -> None:
        exchange.closes = True
        if not exchange.path.startswith(PROBE_PATHS):
            raise Unavailable(
                "All connections are in use; try again in 1 s", code="full", retry_after=1
            )

    async def _fail_draining(self, exchange: Exchange) -> None:
        if not exchange.status:
            exchange.closes = True
            await self._fail(exchange, draining())

    @staticmethod
    async def _fail(exchange: Exchange, error: GatewayError) -> None:
        if exchange.status:  # too late: the reply has begun
            logger.error("A reply failed after it had begun: %s", error.message)
            return
        await exchange.fail(error)


def _without_hub_id(path: bytes) -> bytes:
    """A path without the slash of a hub's id, which OpenAI's clients escape."""
    return ESCAPED_SLASH.sub(b"", path, count=1) if path.startswith(MODELS) else path


async def _no_send(message: Any) -> None:
    raise RuntimeError("replies go through the exchange")


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("There is no such route")

"""Tracing when it is off; `otel.py` implements it."""

from __future__ import annotations

from gateway.web.exchange import Exchange


class Tracing:
    """Makes no traces: a caller's `traceparent` is passed on and logged, and that is all."""

    def begin(self, exchange: Exchange) -> None:
        """Take up a request; from here on it knows its trace."""

    def end(self, exchange: Exchange) -> None:
        """Tell of a request that has ended."""

    def close(self) -> None:
        """Send what was not sent yet; takes a second at most."""

"""Gets one line answered, however busy the service is. Knows no files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gpt2_client.batch import lines
from gpt2_client.batch.gate import Gate, Outcome
from gpt2_client.batch.lines import Labels, LineError, Request
from gpt2_client.client import Client
from gpt2_client.errors import APIError, BadReply, ClientError, RateLimited, TimedOut, Unreachable

# Tries of a request at which the service fails while it lives; the last failure is its answer.
TRIES = 3
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
# The service is away for a while, and the request has nothing to do with it.
AWAY = (502, 503)


class Asker:
    """Asks for many threads; each has a client of its own."""

    def __init__(self, connect: Callable[[], Client], gate: Gate, patience: float) -> None:
        self._connect = connect
        self._gate = gate
        self._patience = patience
        self._own = threading.local()
        self._answered_at = time.monotonic()

    def answer(self, labels: Labels, request: Request, created: int) -> bytes:
        """Return the line that answers a request.

        Raises:
            ClientError: The service was away for longer than our patience.
        """
        tries = waits = 0
        while True:
            self._gate.enter()
            outcome, wait = Outcome.TAKEN, 0.0
            try:
                body = self._client.post(request.url, request.body)
                return lines.answered(labels, 200, body, created)
            except RateLimited as error:
                outcome, wait = Outcome.REFUSED, error.retry_after or _wait(waits)
            except (APIError, TimedOut) as error:
                if isinstance(error, TimedOut) or error.status >= 500 and error.status not in AWAY:
                    tries += 1
                    if tries < TRIES:
                        continue
                    return self._given_up(labels, error, created)
                if isinstance(error, APIError) and error.status < 500:
                    return lines.answered(labels, error.status, error.body, created)
                outcome, wait = Outcome.LOST, self._or_raise(error, waits)
            except (Unreachable, BadReply) as error:
                outcome, wait = Outcome.LOST, self._or_raise(error, waits)
            finally:
                if outcome is not Outcome.LOST:
                    self._answered_at = time.monotonic()
                self._gate.leave(outcome, wait)
            waits += 1

    @property
    def _client(self) -> Client:
        if not hasattr(self._own, "client"):
            self._own.client = self._connect()
        client: Client = self._own.client
        return client

    def _or_raise(self, error: ClientError, waits: int) -> float:
        """Return how long to wait for a service that is away, while there is patience left."""
        if time.monotonic() - self._answered_at > self._patience:
            raise error
        asked = error.retry_after if isinstance(error, APIError) else None
        return min(asked or _wait(waits), LONGEST_WAIT)

    @staticmethod
    def _given_up(labels: Labels, error: APIError | TimedOut, created: int) -> bytes:
        if isinstance(error, APIError):
            return lines.answered(labels, error.status, error.body, created)
        return lines.failed(labels, LineError("request_timeout", str(error)))


def _wait(waits: int) -> float:
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(waits, 10))

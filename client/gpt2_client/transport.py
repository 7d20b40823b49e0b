"""Sends one request and turns every failure into this package's errors. Knows no route."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Union

import requests
from urllib3.exceptions import NewConnectionError, ProtocolError

from gpt2_client import address
from gpt2_client.errors import APIError, BadReply, TimedOut, Unreachable, api_error
from gpt2_client.retry import RETRIED_IF_HARMLESS, RETRIED_STATUSES, Retry, Timeout, seconds_of

Json = Union[dict[str, Any], list[Any]]


class _Bearer(requests.auth.AuthBase):
    """Sends our key and nothing else: without it a .netrc entry would be sent."""

    def __init__(self, key: str | None) -> None:
        # Sent as UTF-8 (`requests` itself knows Latin-1 alone); bytes of an environment in another
        # charset as they are.
        self._key = (key or "").encode("utf-8", "surrogateescape")
        if self._key != self._key.strip() or any(byte < 32 or byte == 127 for byte in self._key):
            raise ValueError(
                "the key contains a control character, or begins or ends with a space: "
                "no header can carry it"
            )

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = "Bearer " + self._key.decode("latin-1")
        return request


class Transport:
    """One server address with its key. Not shared between threads."""

    def __init__(self, base_url: str, key: str | None, timeout: Timeout, retry: Retry) -> None:
        self.base_url = address.base_url(base_url)
        self._timeout = (timeout.connect, timeout.read)
        self.retry = retry
        self._session = address.Session()
        self._session.auth = _Bearer(key)
        self._session.headers["Accept"] = "application/json, text/event-stream"

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def json(self, method: str, path: str, **kwargs: Any) -> Json:
        """Send, and return the reply's JSON. An error inside a 200 is raised like any other."""
        with self.open(method, path, **kwargs) as response:
            body = self._body(response)
        if isinstance(body, dict) and "error" in body:
            raise api_error(body)
        if not isinstance(body, (dict, list)):
            raise BadReply(f"{self.base_url}{path} did not answer with a JSON object")
        return body

    def open(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        retry: bool = True,
        harmless: bool = False,
    ) -> requests.Response:
        """Send until the server takes it; its reply has begun, is below 400, and is not read yet.

        Asks again where the server has not begun: connection refused, 429, 503. A request that
        changes nothing (`harmless`, and any GET) also after a 502, or a connection lost before any
        reply: if the server had begun, its work is done twice and its answer given once.
        """
        attempt = 0
        while True:
            try:
                response = self._session.request(
                    method,
                    self.base_url + path,
                    json=body,
                    params=dict(params) if params else None,
                    timeout=self._timeout,
                    stream=True,
                    allow_redirects=False,
                )
                if response.status_code < 300:
                    return response
                with response:
                    failure: Exception = self._error(response)
            except requests.RequestException as error:
                failure = _translated(error, self.base_url)
            wait = self.retry.wait(attempt, _retry_after(failure)) if retry else None
            if wait is None or not _worth_another_try(failure, harmless or method == "GET"):
                raise failure
            self.retry.sleep(wait)
            attempt += 1

    def chunks(self, response: requests.Response) -> Generator[bytes, None, None]:
        """Return a reply's bytes as they come; closes the connection at the end or when left."""
        chunks = self._chunks(response)
        next(chunks)  # enters `with`: to close a generator that was never begun would close nothing
        return chunks

    def _chunks(self, response: requests.Response) -> Generator[bytes, None, None]:
        with response:
            yield b""
            try:
                yield from response.iter_content(chunk_size=None)
            except requests.RequestException as error:
                raise _translated(error, self.base_url) from error

    def _body(self, response: requests.Response) -> object:
        try:
            return response.json()
        except requests.JSONDecodeError:
            return None
        except requests.RequestException as error:
            raise _translated(error, self.base_url) from error

    def _error(self, response: requests.Response) -> Exception:
        if response.status_code < 400:
            target = response.headers.get("Location", "elsewhere")
            return BadReply(f"{self.base_url} redirects the request to {target}; use that address")
        wait = seconds_of(response.headers.get("Retry-After"))
        body = self._body(response)
        proxy = None if isinstance(body, dict) else address.proxy_of(self.base_url)
        if proxy:
            body = {"message": f"{response.status_code}, from the proxy {proxy} or behind it"}
        return api_error(body, response.status_code, wait)


def _retry_after(failure: Exception) -> float | None:
    return failure.retry_after if isinstance(failure, APIError) else None


def _worth_another_try(failure: Exception, harmless: bool) -> bool:
    if isinstance(failure, APIError):
        return failure.status in (RETRIED_IF_HARMLESS if harmless else RETRIED_STATUSES)
    return isinstance(failure, _NotSent) or harmless and isinstance(failure, _NotAnswered)


class _NotSent(Unreachable):
    """The server never saw the request, so sending it again cannot do it twice."""


class _NotAnswered(Unreachable):
    """The connection was lost before any byte of a reply; the server may have done its work."""


def _translated(error: requests.RequestException, url: str) -> Exception:
    if isinstance(error, requests.exceptions.ProxyError):
        return _NotSent(f"the proxy {address.proxy_of(url)} on the way to {url} does not work")
    if isinstance(error, (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema)):
        return Unreachable(f"the proxy {address.proxy_of(url)} on the way to {url} is not usable")
    if isinstance(error, requests.ConnectTimeout):
        return _NotSent(f"no connection to {url} within the time-out")
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return TimedOut(f"{url} was silent for longer than the time-out")
    cause = error.args[0] if error.args else None
    if isinstance(getattr(cause, "reason", None), NewConnectionError):
        return _NotSent(f"nothing listens at {url}")
    if (
        isinstance(error, requests.ConnectionError)  # of a reply that had begun it is another
        and isinstance(cause, ProtocolError)
        and isinstance(cause.args[-1], ConnectionError)
    ):
        return _NotAnswered(f"the connection to {url} was lost before a reply came")
    if isinstance(error, requests.exceptions.InvalidURL):
        return ValueError(f"not a usable address: {url!r}")
    return Unreachable(f"the connection to {url} broke before the reply was complete")

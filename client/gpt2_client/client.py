"""The Python client: generation and management, through the gateway or on bare TorchServe."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from gpt2_client.errors import APIError, BadReply, ScaleRefused, TimedOut, Unreachable
from gpt2_client.results import (
    DEFAULT_MODEL,
    Completion,
    EmbeddingOptions,
    Embeddings,
    Health,
    ModelInfo,
    ModelStatus,
    Options,
    Prompt,
)
from gpt2_client.retry import Retry, Timeout
from gpt2_client.stream import Attempt, Stream
from gpt2_client.transport import Json, Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack

SEED_BITS = 63
# Which model writes, by its digest; a service whose completions depend on more than that is silent.
MODEL_HEADER = "x-model-digest"
_Result = TypeVar("_Result")


class Client:
    """Talks to one service. Use one per thread; usable as a context manager.

    `base_url` alone means the gateway. With `management_url` it is bare TorchServe: `base_url` is
    then its inference address. Keys are sent as bearer tokens, `management_key` only with
    management calls. `timeout` is a `Timeout` or seconds of silence; `retries` a `Retry` or how
    many more tries a request gets (429, 503, connection refused; what changes nothing also after a
    502 or a connection lost before the reply). A stream that broke is taken up where the same
    model answers, as often as that in a row.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        management_key: str | None = None,
        management_url: str | None = None,
        timeout: Timeout | float | None = None,
        retries: Retry | int | None = None,
    ) -> None:
        if not isinstance(timeout, Timeout):
            timeout = Timeout() if timeout is None else Timeout(read=timeout)
        if not isinstance(retries, Retry):
            retries = Retry() if retries is None else Retry(attempts=retries)
        self.bare = management_url is not None
        self._inference = Transport(base_url, api_key, timeout, retries)
        self._management = Transport(management_url or base_url, management_key, timeout, retries)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._inference.close()
        self._management.close()

    # Generation

    def generate(
        self,
        prompt: Prompt,
        *,
        model: str = DEFAULT_MODEL,
        version: str | None = None,
        **options: Unpack[Options],
    ) -> Completion:
        """Write a whole text and return it."""
        body = self._request(prompt, model, options)
        path = self._completions(model, version)
        return _read(Completion.of, self._inference.json("POST", path, body=body, harmless=True))

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str = DEFAULT_MODEL,
        version: str | None = None,
        **options: Unpack[Options],
    ) -> Stream:
        """Generate, and hand out each event as it comes; a stream that breaks is taken up."""
        body = self._request(prompt, model, options)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        if body.get("seed") is None:  # which has the text come again, should the stream break
            body["seed"] = secrets.randbits(SEED_BITS)
        path, transport = self._completions(model, version), self._inference

        def ask() -> Attempt:
            response = transport.open("POST", path, body=body, harmless=True)
            return Attempt(transport.chunks(response), response.headers.get(MODEL_HEADER))

        return Stream(ask, transport.retry)

    def embed(
        self,
        texts: Prompt,
        *,
        model: str = DEFAULT_MODEL,
        version: str | None = None,
        **options: Unpack[EmbeddingOptions],
    ) -> Embeddings:
        """Turn a text, or each of several, into a vector."""
        body: dict[str, Any] = {"input": texts, "encoding_format": "base64", **options}
        path = self._generation_path("v1/embeddings", model, version)
        reply = self._inference.json("POST", path, body=body, harmless=True)
        return _read(Embeddings.of, reply)

    def post(self, route: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a body to a route of OpenAI's API, `/v1/completions` say, and return its JSON.

        It is sent again where the server was lost, so its answer must be the only thing it makes.
        """
        if self.bare and route == "/v1/completions":
            route = self._completions(str(body.get("model") or DEFAULT_MODEL), None)
        return _object(self._inference.json("POST", route, body=body, harmless=True))

    def tokenize(self, text: str, *, model: str = DEFAULT_MODEL) -> list[int]:
        """Return the text's token ids."""
        path = self._generation_path("v1/tokenize", model, None)
        reply = self._inference.json("POST", path, body={"text": text}, harmless=True)
        return [int(token) for token in _object(reply)["tokens"]]

    def detokenize(self, tokens: Sequence[int], *, model: str = DEFAULT_MODEL) -> str:
        """Return the text of token ids."""
        path = self._generation_path("v1/detokenize", model, None)
        reply = self._inference.json("POST", path, body={"tokens": list(tokens)}, harmless=True)
        return str(_object(reply)["text"])

    def models(self, *, model: str | None = None, version: str | None = None) -> list[ModelInfo]:
        """Say what is loaded: `model`, or all. Bare TorchServe knows no more than one at a time."""
        if self.bare or version is not None:
            path = self._generation_path("v1/models", model or DEFAULT_MODEL, version)
            reply = _object(self._inference.json("POST", path, body={}, harmless=True))
        else:
            path = "/v1/models" if model is None else f"/v1/models/{quote(model, safe='')}"
            reply = _object(self._inference.json("GET", path))
        return [_read(ModelInfo.of, item) for item in reply.get("data", [reply])]

    # Management

    def describe(self, model: str = DEFAULT_MODEL, version: str | None = None) -> list[ModelStatus]:
        """Describe the default version of `model`, the one named, or with "all" every one."""
        reply = self._management.json("GET", _model_path(model, version))
        items = reply if isinstance(reply, list) else [reply]
        return [_read(ModelStatus.of, item) for item in items]

    def registered(self) -> dict[str, str]:
        """Return each registered model's name and the archive it came from."""
        names: dict[str, str] = {}
        params: dict[str, str | int] = {"limit": 100}
        while True:
            reply = _object(self._management.json("GET", "/models", params=params))
            names |= {m["modelName"]: m["modelUrl"] for m in reply.get("models", ())}
            token = reply.get("nextPageToken")
            if not token:
                return names
            params["next_page_token"] = token

    def register(self, archive: str, *, model: str | None = None, workers: int = 1) -> str:
        """Register an archive of the model store and wait until it serves.

        Returns the server's sentence. `model` is the name it gets (its own by default).
        """
        self._check_workers(workers)
        params: dict[str, str | int] = {
            "url": archive,
            "initial_workers": workers,
            "synchronous": "true",
        }
        if model is not None:
            params["model_name"] = model
        return self._manage("POST", "/models", params)

    def unregister(self, model: str, version: str | None = None) -> str:
        """Take a version away, or without one the default version.

        The gateway lets it finish what it is generating. Bare TorchServe cuts them: there,
        let another version be the default first and wait until its sequences have ended.
        """
        return self._manage("DELETE", _model_path(model, version))

    def set_default(self, model: str, version: str) -> str:
        """Let requests without a version go to this one."""
        return self._manage("PUT", _model_path(model, version) + "/set-default")

    def scale(self, workers: int, *, model: str = DEFAULT_MODEL) -> str:
        """Serve `model` by so many workers, and wait until it is so.

        Raises ScaleRefused for more than one on bare TorchServe, before anything is sent.
        """
        self._check_workers(workers)
        params: dict[str, str | int] = {
            "min_worker": workers,
            "max_worker": workers,
            "synchronous": "true",
        }
        return self._manage("PUT", _model_path(model, None), params)

    def health(self, *, model: str = DEFAULT_MODEL) -> Health:
        """Ask once whether the server lives and would write; never raises for a server down."""
        live = "/ping" if self.bare else "/health/live"
        try:
            self._inference.json("GET", live, retry=False)
        except (APIError, BadReply, Unreachable, TimedOut) as error:
            return Health(False, False, str(error))
        try:
            if self.bare:
                status = self.describe(model)[0]
                return Health(True, status.ready, "" if status.ready else _worker_states(status))
            self._inference.json("GET", "/health/ready", retry=False)
        except (APIError, BadReply, Unreachable, TimedOut) as error:
            return Health(True, False, str(error))
        return Health(True, True)

    def _manage(self, method: str, path: str, params: Mapping[str, str | int] | None = None) -> str:
        return str(
            _object(self._management.json(method, path, params=params)).get("status", "done")
        )

    def _check_workers(self, workers: int) -> None:
        if workers < 0:
            raise ValueError("workers must be 0 or more")
        if self.bare and workers > 1:
            raise ScaleRefused(
                f"{workers} workers of one model freeze each other's streams on bare TorchServe: "
                "an idle worker holds the model's lock while a busy one needs it at every step. "
                "Use 1 here, or scale through the gateway, which makes replicas instead."
            )

    def _request(self, prompt: Prompt, model: str, options: Options) -> dict[str, Any]:
        body: dict[str, Any] = {"prompt": prompt, **options}
        if not self.bare:
            body["model"] = model
        return body

    def _completions(self, model: str, version: str | None) -> str:
        if self.bare or version is not None:
            # TorchServe's own route finds the default version by itself; deeper ones do not.
            return "/predictions" + _model_path(model, version).removeprefix("/models")
        return "/v1/completions"

    def _generation_path(self, route: str, model: str, version: str | None) -> str:
        if not self.bare and version is None and model == DEFAULT_MODEL:
            return f"/{route}"
        if version is None and self.bare:
            # What follows the name is the version to TorchServe, and a route only behind that.
            version = self.describe(model)[0].version
        return "/predictions" + _model_path(model, version).removeprefix("/models") + f"/{route}"


def _model_path(model: str, version: str | None) -> str:
    path = f"/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/{quote(version, safe='')}"


def _worker_states(status: ModelStatus) -> str:
    states = ", ".join(worker.status for worker in status.workers)
    return f"workers: {states}" if states else "no worker"


def _object(reply: Json) -> dict[str, Any]:
    if not isinstance(reply, dict):
        raise BadReply("the server sent a list where an object was expected")
    return reply


def _read(parse: Callable[[Any], _Result], body: Any) -> _Result:
    try:
        return parse(body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadReply(f"the reply lacks {error}, or has it in another format") from error

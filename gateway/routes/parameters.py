"""The parameters of a management request, from the query or a JSON body, each validated."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from gateway.errors import BadRequest
from gateway.proxy.prediction import parse_object
from gateway.web.exchange import Exchange

# What TorchServe documents and what has no meaning here, with why.
WITHOUT_EFFECT = {
    "batch_size": "the engine forms its batches itself",
    "max_batch_delay": "no sequence waits for another",
    "runtime": "the archive is Python",
    "number_gpu": "only CPUs are used",
    "s3_sse_kms": "archives do not come from S3",
}
MOST_PARAMETERS = 20
RUNTIMES = ("python", "python3")


class Parameters:
    """Named values as strings; what is empty or null was not given."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in values.items() if value != ""}
        self._given = tuple(values)

    def __bool__(self) -> bool:
        return bool(self._given)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def allow(self, *names: str) -> None:
        """Refuse every other name.

        Raises:
            BadRequest: It names the parameter, and those that are allowed.
        """
        for name in self._given:
            if name not in names:
                allowed = ", ".join(f"`{each}`" for each in names) or "none"
                raise BadRequest(
                    f"There is no parameter `{name[:64]}`; allowed here: {allowed}", param=name[:64]
                )

    def text(self, name: str) -> str | None:
        """Return a string."""
        return self._values.get(name)

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number.

        Raises:
            BadRequest: It is none from `least` to `most`.
        """
        text = self._values.get(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        is_whole = digits.isascii() and digits.isdigit() and len(digits) < 10
        if not (is_whole and least <= int(text) <= most):
            raise BadRequest(f"`{name}` must be a whole number from {least} to {most}", param=name)
        return int(text)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false, in whatever capitals.

        Raises:
            BadRequest: It is neither.
        """
        text = self._values.get(name, str(default)).lower()
        if text not in ("true", "false"):
            raise BadRequest(f"`{name}` must be true or false", param=name)
        return text == "true"

    def without_effect(self) -> list[str]:
        """Judge what has no meaning here; return a sentence for each that was given.

        Raises:
            BadRequest: It asks for what this service does not have.
        """
        self.whole("batch_size", 1, 1, 100_000)
        self.whole("max_batch_delay", 0, 0, 10_000_000)
        if self._values.get("runtime", "python").lower() not in RUNTIMES:
            raise BadRequest("`runtime` must be PYTHON or PYTHON3", param="runtime")
        if self._values.get("number_gpu", "0") != "0":
            raise BadRequest("`number_gpu` must be 0: only CPUs are used here", param="number_gpu")
        if self.flag("s3_sse_kms", False):
            raise BadRequest("`s3_sse_kms` must be false: S3 is not supported", param="s3_sse_kms")
        return [
            f"`{name}` has no effect: {reason}"
            for name, reason in WITHOUT_EFFECT.items()
            if name in self
        ]


def read_query(exchange: Exchange) -> Parameters:
    """Read the parameters of the query.

    Raises:
        BadRequest: One is given twice.
    """
    text = exchange.scope["query_string"].decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise BadRequest(f"At most {MOST_PARAMETERS} parameters may be given") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise BadRequest("Each parameter may be given once")
    return Parameters(values)


def read(exchange: Exchange, body: bytes) -> tuple[Parameters, list[str]]:
    """Read the parameters of a JSON body, else of the query; and what is to be said of that.

    Raises:
        BadRequest: The body holds something else.
    """
    query = read_query(exchange)
    if not body:
        return query, []
    kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest(
            "Send the parameters in the query, or as JSON with `Content-Type: application/json`",
            param="content-type",
        )
    values = {name: _text(name, value) for name, value in parse_object(body).items()}
    notes = ["the query has no effect: the parameters are in the body"] if query else []
    return Parameters(values), notes


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, (str, int)):
        raise BadRequest(
            f"`{name[:64]}` must be a string, a whole number or a boolean", param=name[:64]
        )
    return str(value)

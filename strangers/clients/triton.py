"""Triton's client over HTTP: tensors, and the `generate` extension where it has words for it."""

import time

import numpy as np
import tritonclient.http as http
from common import MANY, MODEL, PROMPT, TEXT, TOKENS, URL, has_left, main, same
from tritonclient.utils import InferenceServerException

CLIENT = http.InferenceServerClient(URL.removeprefix("http://"))
GREEDY = {"temperature": 0, "max_tokens": TOKENS}


def infer(client: http.InferenceServerClient = CLIENT, **options: object) -> str:
    """What follows the prompt."""
    text = http.InferInput("text_input", [1], "BYTES")
    text.set_data_from_numpy(np.array([PROMPT.encode()], dtype=object))
    reply = client.infer(MODEL, [text], parameters={**GREEDY, **options})
    return str(reply.as_numpy("text_output")[0].decode())


def call() -> None:
    """A text."""
    assert CLIENT.is_server_ready() and CLIENT.is_model_ready(MODEL)
    same(infer(), TEXT)


def cancel() -> None:
    """Leave a call: it takes longer than the client waits."""
    hasty = http.InferenceServerClient(URL.removeprefix("http://"), network_timeout=1.0)
    try:
        infer(hasty, max_tokens=MANY)
    except (OSError, InferenceServerException):
        has_left()
    else:
        raise AssertionError("it did not take long")


def error() -> None:
    """A value that is not allowed."""
    try:
        infer(temperature=9)
    except InferenceServerException as error:
        assert "less than or equal to 2" in error.message(), error
    else:
        raise AssertionError("no error")


def retry() -> None:
    """It tries nothing again by itself."""
    try:
        infer()
    except InferenceServerException as error:
        same(error.status(), "429")
    else:
        raise AssertionError("it was not refused")
    time.sleep(5)
    same(infer(), TEXT)


main(call, cancel, error, retry)

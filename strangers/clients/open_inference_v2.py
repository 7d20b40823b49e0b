"""The Open Inference Protocol's generated client of KServe's v2."""

import time

from common import MODEL, PROMPT, TEXT, TOKENS, URL, main, same
from open_inference.openapi import BadRequestError, NotFoundError
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData

CLIENT = OpenInferenceClient(base_url=URL)


def infer(**options: object) -> list:
    """What follows the prompt."""
    data = TensorData(__root__=[PROMPT])
    text = RequestInput(name="text_input", shape=[1], datatype="BYTES", data=data)
    parameters = {"temperature": 0, "max_tokens": TOKENS, **options}
    request = InferenceRequest(inputs=[text], parameters=parameters)
    reply = CLIENT.model_infer(MODEL, request=request)
    return reply.outputs[0].data.__root__


def call() -> None:
    """Health, what is there, and a text."""
    CLIENT.check_server_liveness()
    CLIENT.check_server_readiness()
    CLIENT.check_model_readiness(MODEL)
    assert CLIENT.read_server_metadata().name
    assert CLIENT.read_model_metadata(MODEL).inputs
    same(infer(), [TEXT])


def error() -> None:
    """A value that is not allowed, and a model that is not there."""
    try:
        infer(temperature=9)
    except BadRequestError as error:
        assert "less than or equal to 2" in str(error.body), error.body
    else:
        raise AssertionError("no error")
    try:
        CLIENT.check_model_readiness("another")
    except NotFoundError:
        pass
    else:
        raise AssertionError("no error")


def retry() -> None:
    """It tries nothing again by itself, and does not show the refusal's header."""
    try:
        infer()
    except ApiError as error:
        same(error.status_code, 429)
    else:
        raise AssertionError("it was not refused")
    time.sleep(5)
    same(infer(), [TEXT])


main(call, error, retry)

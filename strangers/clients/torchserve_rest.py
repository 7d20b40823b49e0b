"""`torchserve-client`: inference and management as TorchServe's pages have them."""

from urllib.parse import urlsplit

import requests
from common import MODEL, PROMPT, URL, main, same
from torchserve_client import TorchServeClientREST

PORT = urlsplit(URL).port
CLIENT = TorchServeClientREST("http://localhost", management_port=PORT, inference_port=PORT)


def call() -> None:
    """Health, a text, and the models."""
    same(CLIENT.inference.health_check(), {"status": "Healthy"})
    assert CLIENT.inference.prediction(MODEL, data={"data": PROMPT, "max_tokens": "8"})
    (model,) = CLIENT.management.list_models()["models"]
    same(model["modelName"], MODEL)
    (described,) = CLIENT.management.describe_model(MODEL, customized=True)
    same(described["customizedMetadata"]["precision"], "fp32")


def error() -> None:
    """A model that is not there."""
    try:
        CLIENT.management.describe_model("another")
    except requests.HTTPError as error:
        told = error.response.json()
        same((told["code"], told["type"]), (404, "ModelNotFoundException"))
    else:
        raise AssertionError("no error")


main(call, error)

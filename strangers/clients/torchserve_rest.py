"""`torchserve-client`: inference and management as TorchServe's pages have them."""

from urllib.parse import urlsplit

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
    """A model that is not there: its words come back as they are."""
    reply = CLIENT.management.describe_model("another")
    same((reply["code"], reply["type"]), (404, "ModelNotFoundException"))


main(call, error)

"""`tritonclient`, as its users have it, asks the gateway for tensors."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from bench.environments import HOME, Environment, SetUpError
from tests.gateway.conftest import Service

# What its HTTP half needs, and no more of what it would bring along.
TRITON = Environment(
    "triton-client",
    (
        "tritonclient==2.71.0",
        "numpy==2.4.6",
        "ml_dtypes==0.5.4",
        "python-rapidjson==1.25",
        "geventhttpclient==2.6.1",
        "gevent==26.9.0",
        "greenlet==3.3.2",
        "zope.event==6.2",
        "zope.interface==8.7",
        "brotli==1.2.1",
        "certifi==2026.10.19.post1",
        "urllib3==2.8.0",
    ),
    ("--no-deps",),
)
SCRIPT = """
import sys
import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

port, expected = sys.argv[1], sys.argv[2:]
client = http.InferenceServerClient(f"127.0.0.1:{port}")
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("gpt2") and client.is_model_ready("gpt2", "1.0")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
assert client.get_model_metadata("gpt2")["inputs"][0]["datatype"] == "BYTES"
prompts = np.array(["Once upon a time".encode(), "The fox \\u00e9".encode()], dtype=object)
for sent in (True, False):
    for wanted in (True, False, None):
        text = http.InferInput("text_input", [2], "BYTES")
        text.set_data_from_numpy(prompts, binary_data=sent)
        most = http.InferInput("max_tokens", [1], "INT32")
        most.set_data_from_numpy(np.array([5], dtype=np.int32), binary_data=sent)
        outputs = None
        if wanted is not None:
            outputs = [http.InferRequestedOutput("text_output", binary_data=wanted)]
        result = client.infer(
            "gpt2", [text, most], outputs=outputs, request_id="7", parameters={"seed": 1}
        )
        assert result.get_response()["id"] == "7"
        got = [t.decode() if isinstance(t, bytes) else t for t in result.as_numpy("text_output")]
        assert got == expected, (sent, wanted, got, expected)
for parameters, model, says in (({"temperature": 9}, "gpt2", "temperature"), ({}, "x", "`x`")):
    try:
        client.infer(model, [text], parameters=parameters)
    except InferenceServerException as error:
        assert says in error.message(), error.message()
    else:
        raise AssertionError(says)
"""


@pytest.fixture(scope="module")
def triton_python() -> Path:
    """The interpreter of Triton's client."""
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(HOME / "triton-client.lock"):
            return TRITON.ensure(print)
    except SetUpError as error:
        pytest.skip(f"Triton's client cannot be installed: {error}")


def test_it_sends_and_reads_tensors_both_ways(service: Service, triton_python: Path) -> None:
    prompts = ["Once upon a time", "The fox \u00e9"]
    reply = service.post("/v1/completions", json={"prompt": prompts, "max_tokens": 5, "seed": 1})
    texts = [choice["text"] for choice in reply.json()["choices"]]
    done = subprocess.run(
        [str(triton_python), "-c", SCRIPT, str(service.port), *texts],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""Calls a TorchServe over gRPC, with stubs made of its own `.proto` files; no part of the tests.

Runs in an environment of its own: `grpc_calls.py STUBS INFERENCE_PORT MANAGEMENT_PORT`, with calls
as JSON lines on standard input, and what came of each as a JSON line on standard output.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

stubs, inference_port, management_port = sys.argv[1:]
sys.path.insert(0, stubs)

import grpc  # noqa: E402
import inference_pb2  # noqa: E402
import inference_pb2_grpc  # noqa: E402
import management_pb2  # noqa: E402
import management_pb2_grpc  # noqa: E402
import open_inference_grpc_pb2 as tensors_pb2  # noqa: E402
import open_inference_grpc_pb2_grpc as tensors_pb2_grpc  # noqa: E402
from google.protobuf.empty_pb2 import Empty  # noqa: E402

inference = grpc.insecure_channel(f"127.0.0.1:{inference_port}")
management = grpc.insecure_channel(f"127.0.0.1:{management_port}")
predictions = inference_pb2_grpc.InferenceAPIsServiceStub(inference)
models = management_pb2_grpc.ManagementAPIsServiceStub(management)
kserve = tensors_pb2_grpc.GRPCInferenceServiceStub(inference)


def predict(call: dict[str, Any]) -> list[str]:
    """The messages that a prediction brings."""
    fields = {name: value.encode() for name, value in call["input"].items()}
    request = inference_pb2.PredictionsRequest(model_name="gpt2", input=fields)
    seconds = call.get("seconds", 60)
    if call["call"] == "Predictions":
        replies = [predictions.Predictions(request, timeout=seconds)]
    else:
        replies = list(predictions.StreamPredictions(request, timeout=seconds))
    return [reply.prediction.decode() for reply in replies]


def infer(call: dict[str, Any]) -> list[str]:
    """The output of KServe's call."""
    contents = tensors_pb2.InferTensorContents(bytes_contents=[b"Once upon a time"])
    tensor = tensors_pb2.ModelInferRequest.InferInputTensor(
        name="text", datatype="BYTES", shape=[1], contents=contents
    )
    request = tensors_pb2.ModelInferRequest(model_name="gpt2", id="1", inputs=[tensor])
    reply = kserve.ModelInfer(request, timeout=20)
    return [part.decode() for output in reply.outputs for part in output.contents.bytes_contents]


def manage(call: dict[str, Any]) -> list[str]:
    """What management says."""
    request = getattr(management_pb2, f"{call['call']}Request")(**call["input"])
    return [getattr(models, call["call"])(request, timeout=60).msg]


def run(line: str) -> str:
    """Make one call."""
    call = json.loads(line)
    name = call["call"]
    try:
        if name == "Ping":
            messages = [predictions.Ping(Empty(), timeout=20).health]
        elif name == "ModelInfer":
            messages = infer(call)
        else:
            messages = (predict if "Predictions" in name else manage)(call)
    except grpc.RpcError as error:
        return json.dumps({"code": error.code().name, "details": error.details()})
    return json.dumps({"messages": messages})


# All at once, so that they share their steps.
with ThreadPoolExecutor(16) as pool:
    for outcome in pool.map(run, sys.stdin.read().splitlines()):
        print(outcome, flush=True)

"""Collects ONNX nodes and tensors into a model; knows nothing of GPT-2 or of files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
MICROSOFT = "com.microsoft"
# The IR version of opset 17's time, so that older ONNX Runtimes load the graph too.
IR_VERSION = 8

ELEMENT_TYPES = {
    "bool": TensorProto.BOOL,
    "float32": TensorProto.FLOAT,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}
Dimensions = list[int | str]


@dataclass
class GraphBuilder:
    """A graph in the making; a node is named after its first output."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a tensor under `name`, once, and return the name."""
        self.tensors.setdefault(name, value)
        return name

    def input(self, name: str, dtype: str, dimensions: Dimensions) -> str:
        """Declare an input of the graph and return its name."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], dimensions))
        return name

    def output(self, name: str, dtype: str, dimensions: Dimensions) -> None:
        """Declare the tensor `name` an output of the graph."""
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], dimensions))

    def node(
        self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output and return the output's name."""
        self.node_with_outputs(operator, inputs, [output], domain, **attributes)
        return output

    def node_with_outputs(
        self,
        operator: str,
        inputs: list[str],
        outputs: list[str],
        domain: str = "",
        **attributes: Any,
    ) -> None:
        """Add a node with several outputs; an empty name leaves an output out."""
        self.nodes.append(
            helper.make_node(
                operator, inputs, outputs, name=outputs[0], domain=domain, **attributes
            )
        )

    def branch(self) -> GraphBuilder:
        """Begin a subgraph for `choice`: it sees all names of this graph and shares its tensors."""
        return GraphBuilder(tensors=self.tensors)

    def choice(
        self, condition: str, outputs: list[str], yes: GraphBuilder, no: GraphBuilder
    ) -> None:
        """Add an If: run one of two branches, whose outputs become `outputs`."""
        branches = [
            helper.make_graph(branch.nodes, f"{outputs[0]}.{word}", [], branch.outputs)
            for word, branch in (("yes", yes), ("no", no))
        ]
        self.nodes.append(
            helper.make_node(
                "If",
                [condition],
                outputs,
                name=outputs[0],
                then_branch=branches[0],
                else_branch=branches[1],
            )
        )

    def model(self, name: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """Close the graph into a model that holds all its tensors."""
        tensors = [
            numpy_helper.from_array(np.asarray(value, order="C"), key)
            for key, value in self.tensors.items()
        ]
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, tensors)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
            ir_version=IR_VERSION,
            producer_name="gpt2-torchserve",
        )
        helper.set_model_props(model, metadata)
        return model

"""Assembles GPT-2 as an ONNX graph, node by node, from checked weights.

Knows the architecture; how a matrix product is computed is `products`' business. Hidden states are
[batch, sequence, width], as attention wants them, where all products take them so; else they are
[tokens, width] and reshaped around attention: two nodes more a layer.
"""

from __future__ import annotations

import numpy as np
import onnx

from archive.attention import Attention
from archive.builder import MICROSOFT, GraphBuilder
from archive.checkpoint import ModelShape, Weights
from archive.errors import CheckpointError
from archive.plan import HEAD, Plan, product_names
from archive.products import Form, add_float_product, add_quantised_product
from archive.smoothing import head_weight

HEAD_SIZE_STEP = 8  # of GroupQueryAttention on a CPU


def build_graph(shape: ModelShape, weights: Weights, plan: Plan) -> onnx.ModelProto:
    """Build the graph that the serving engine runs, its products in the forms of `plan`."""
    assembly = _Assembly(shape, weights, plan)
    assembly.assemble()
    return assembly.graph.model("gpt2", _facts(shape, plan.precision))


def build_calibration_graph(shape: ModelShape, weights: Weights, plan: Plan) -> onnx.ModelProto:
    """Build the same graph with outputs that tell what flows through it.

    For each product `{name}.low`, `.high`: smallest and largest value of each channel [in] of its
    input over all tokens; `.typical`: the mean over the tokens of a token's largest magnitude [].
    For each layer's attention `{name}.packed.low`, `.high`: the same of queries, keys, values.
    """
    assembly = _Assembly(shape, weights, plan)
    assembly.assemble()
    for name in product_names(shape):
        assembly.watch_range(name, assembly.product_inputs[name])
        assembly.watch_typical(name, assembly.product_inputs[name])
    for layer in range(shape.n_layer):
        name = f"h.{layer}.attn"
        assembly.watch_range(f"{name}.packed", f"{name}.c_attn")
    return assembly.graph.model("gpt2-calibration", {})


class _Assembly:
    """One graph being assembled; methods return names of tensors."""

    def __init__(self, shape: ModelShape, weights: Weights, plan: Plan) -> None:
        self.shape = shape
        self.weights = weights
        self.plan = plan
        self.graph = GraphBuilder()
        self.attend = Attention(self.graph, shape, plan.bytes_in_cache)
        self.product_inputs: dict[str, str] = {}
        self.is_flat = any(form is not Form.STATIC_7BIT for form in plan.forms.values())

    def assemble(self) -> None:
        self.declare()
        packed_shape = self.packed_shape() if self.is_flat else None
        residual = self.embedding("wte", "input_ids")
        update = self.embedding("wpe", "position_ids")
        for layer in range(self.shape.n_layer):
            normed, residual = self.norm_of_sum(f"h.{layer}.ln_1", residual, update)
            update = self.attention(layer, normed, packed_shape)
            normed, residual = self.norm_of_sum(f"h.{layer}.ln_2", residual, update)
            update = self.feed_forward(layer, normed)
        normed, _ = self.norm_of_sum("ln_f", residual, update)
        self.head(normed)

    def declare(self) -> None:
        shape, graph = self.shape, self.graph
        graph.input("input_ids", "int64", ["batch", "sequence"])
        graph.input("position_ids", "int64", ["batch", "sequence"])
        graph.input("logit_rows", "int64", ["rows"])
        graph.output("logits", "float32", ["rows", shape.vocab_size])
        self.attend.declare()

    def weight(self, name: str) -> str:
        return self.graph.constant(name, self.weights[name])

    def integers(self, name: str, values: list[int]) -> str:
        return self.graph.constant(name, np.array(values, dtype=np.int64))

    def packed_shape(self) -> str:
        """Return the shape [batch, sequence, 3 * width] of the packed queries, keys, values."""
        ids = self.graph.node("Shape", ["input_ids"], "input_ids.shape")
        packed = self.integers("packed_width", [3 * self.shape.n_embd])
        return self.graph.node("Concat", [ids, packed], "packed_shape", axis=0)

    def as_rows(self, states: str) -> str:
        """Return hidden states of any rank as [tokens, width]."""
        width = self.integers("flat_width", [-1, self.shape.n_embd])
        return self.graph.node("Reshape", [states, width], f"{states}.rows")

    def embedding(self, name: str, ids: str) -> str:
        """Look rows up, stored in half precision unless the float head shares the tensor."""
        if self.is_flat:
            ids = self.graph.node("Reshape", [ids, self.integers("flat", [-1])], f"{name}.ids")
        if self.plan.forms[HEAD] is Form.FP32:
            return self.graph.node("Gather", [self.weight(f"{name}.weight"), ids], name)
        table = self.weights[f"{name}.weight"]
        half = self.graph.constant(f"{name}.weight", table.astype(np.float16))
        rows = self.graph.node("Gather", [half, ids], f"{name}.half")
        return self.graph.node("Cast", [rows], name, to=1)

    def norm_of_sum(self, name: str, left: str, right: str) -> tuple[str, str]:
        """Add `left + right` and its LayerNorm; return (normed, sum).

        Two nodes: `SkipLayerNormalization`, which does both, takes three times as long.
        """
        total = self.graph.node("Add", [left, right], f"{name}.sum")
        gain, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        epsilon = self.shape.layer_norm_epsilon
        normed = self.graph.node("LayerNormalization", [total, gain, bias], name, epsilon=epsilon)
        return normed, total

    def product(self, name: str, rows: str) -> str:
        self.product_inputs[name] = rows
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        form = self.plan.forms[name]
        if form is Form.FP32:
            return add_float_product(self.graph, name, rows, weight, bias)
        span = self.plan.ranges[name]
        return add_quantised_product(self.graph, form, name, rows, weight, bias, span)

    def attention(self, layer: int, normed: str, packed_shape: str | None) -> str:
        """Attend; `packed_shape` is given where hidden states are flat."""
        name = f"h.{layer}.attn"
        packed = self.product(f"{name}.c_attn", normed)
        if packed_shape is not None:
            packed = self.graph.node("Reshape", [packed, packed_shape], f"{name}.packed")
        attended = self.attend.add(layer, name, packed)
        if self.is_flat:
            attended = self.as_rows(attended)
        return self.product(f"{name}.c_proj", attended)

    def feed_forward(self, layer: int, normed: str) -> str:
        name = f"h.{layer}.mlp"
        inner = self.product(f"{name}.c_fc", normed)
        active = self.graph.node("FastGelu", [inner], f"{name}.gelu", MICROSOFT)
        return self.product(f"{name}.c_proj", active)

    def head(self, normed: str) -> None:
        """Compute logits for the rows that are asked for."""
        self.product_inputs[HEAD] = normed
        if not self.is_flat:
            normed = self.as_rows(normed)
        rows = self.graph.node("Gather", [normed, "logit_rows"], "logit_rows.hidden", axis=0)
        form = self.plan.forms[HEAD]
        if form is Form.FP32:
            tied = "lm_head.weight" not in self.weights
            table = self.weight("wte.weight" if tied else "lm_head.weight")
            self.graph.node("Gemm", [rows, table], "logits", transB=1)
            return
        weight, span = head_weight(self.weights), self.plan.ranges[HEAD]
        add_quantised_product(self.graph, form, "logits", rows, weight, None, span)

    def watch_range(self, name: str, rows: str) -> None:
        """Make smallest and largest value of each channel outputs of the graph."""
        for kind, reduce in (("low", "ReduceMin"), ("high", "ReduceMax")):
            self.graph.node(reduce, [rows], f"{name}.{kind}", axes=[0], keepdims=0)
            self.graph.output(f"{name}.{kind}", "float32", ["channels"])

    def watch_typical(self, name: str, rows: str) -> None:
        """Make the mean of the rows' largest magnitudes an output of the graph."""
        size = self.graph.node("Abs", [rows], f"{name}.size")
        largest = self.graph.node("ReduceMax", [size], f"{name}.largest", axes=[1], keepdims=0)
        self.graph.node("ReduceMean", [largest], f"{name}.typical", axes=[0], keepdims=0)
        self.graph.output(f"{name}.typical", "float32", [])


def check_head_size(shape: ModelShape) -> None:
    """Raise CheckpointError for heads that ONNX Runtime's attention cannot compute."""
    if shape.head_dim % HEAD_SIZE_STEP:
        raise CheckpointError(
            f"config.json: the head size, n_embd {shape.n_embd} / n_head {shape.n_head} = "
            f"{shape.head_dim}, is not a multiple of {HEAD_SIZE_STEP}, which ONNX Runtime needs; "
            "pack it with --engine torch"
        )


def _facts(shape: ModelShape, precision: str) -> dict[str, str]:
    """Return what the engine may read from the model file itself."""
    numbers = {
        "n_layer": shape.n_layer,
        "n_head": shape.n_head,
        "n_embd": shape.n_embd,
        "n_positions": shape.n_positions,
        "vocab_size": shape.vocab_size,
    }
    return {"precision": precision, **{key: str(value) for key, value in numbers.items()}}

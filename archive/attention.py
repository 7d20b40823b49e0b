"""Attention over the key-value cache, as nodes of the graph: one operator, or one for each phase.

A cache of float32 is read and written by `GroupQueryAttention` for prompts and decoding alike. A
cache of bytes reads a quarter of the memory when decoding; on prompts, though, the operator's own
kernel for bytes takes two to three times as long as the one for floats. So a prompt's keys and
values are rounded to the cache's levels first and attended to as floats: what is attended to and
what the cache holds are the same numbers, so that no result depends on where a piece ends. Keys and
values count in levels already (`archive.levels`): no scale is left to be applied here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archive.builder import MICROSOFT, GraphBuilder
from archive.checkpoint import ModelShape

IS_PROMPT = "is_prompt"
PROMPT_START = "prompt_start"
CACHE_ROWS = "cache_rows"
LOWEST, HIGHEST = -128.0, 127.0  # int8


@dataclass(frozen=True)
class Attention:
    """Adds the attention of one model's layers."""

    graph: GraphBuilder
    shape: ModelShape
    bytes_in_cache: bool

    def declare(self) -> None:
        """Declare the cache, and what only a cache of bytes needs to know of a step.

        `is_prompt` []: whether the tokens are a piece of one prompt; `prompt_start` [1]: how many
        tokens of it the cache holds; `cache_rows` [heads, sequence, 3]: where in the cache
        [batch, heads, max_length] the piece goes. The last two are read for prompts alone.
        """
        graph, shape = self.graph, self.shape
        graph.input("seqlens_k", "int32", ["batch"])
        graph.input("total_sequence_length", "int32", [])
        for layer in range(shape.n_layer):
            for kind in ("key", "value"):
                graph.input(f"past_{kind}.{layer}", self._dtype, self._cache)
                graph.output(f"present_{kind}.{layer}", self._dtype, self._cache)
        if self.bytes_in_cache:
            graph.input(IS_PROMPT, "bool", [])
            graph.input(PROMPT_START, "int64", [1])
            graph.input(CACHE_ROWS, "int64", [shape.n_head, "piece", 3])

    def add(self, layer: int, name: str, packed: str) -> str:
        """Attend with queries, keys, values [batch, sequence, 3 * width]; return [.., .., width].

        The cache is extended in place where past and present are the same memory.
        """
        present = [f"present_key.{layer}", f"present_value.{layer}"]
        if not self.bytes_in_cache:
            inputs = [packed, "", "", *self._past(layer)]
            return self._attend(self.graph, layer, inputs, [name, *present])
        self.graph.choice(
            IS_PROMPT,
            [name, *present],
            self._read_prompt(layer, f"{name}.prompt", packed),
            self._decode(layer, f"{name}.decode", packed),
        )
        return name

    @property
    def _dtype(self) -> str:
        return "int8" if self.bytes_in_cache else "float32"

    @property
    def _cache(self) -> list[int | str]:
        return ["batch", self.shape.n_head, "max_length", self.shape.head_dim]

    def _past(self, layer: int) -> list[str]:
        return [f"past_key.{layer}", f"past_value.{layer}"]

    def _attend(
        self,
        graph: GraphBuilder,
        layer: int,
        inputs: list[str],
        outputs: list[str],
        *,
        on_bytes: bool = False,
    ) -> str:
        inputs = [*inputs, "seqlens_k", "total_sequence_length"]
        quantised: dict[str, str | int] = {}
        if on_bytes:
            level = self.graph.constant("cache.level", np.ones(1, np.float32))
            # The five left out: rotary tables, positions, bias and sinks.
            inputs += ["", "", "", "", "", level, level]
            quantised = {
                "k_quant_type": "PER_TENSOR",
                "v_quant_type": "PER_TENSOR",
                "kv_cache_bit_width": 8,
            }
        graph.node_with_outputs(
            "GroupQueryAttention",
            inputs,
            outputs,
            MICROSOFT,
            num_heads=self.shape.n_head,
            kv_num_heads=self.shape.n_head,
            scale=self.shape.attention_scale(layer),
            do_rotary=0,
            **quantised,
        )
        return outputs[0]

    def _decode(self, layer: int, name: str, packed: str) -> GraphBuilder:
        """One token for each sequence: the operator reads and writes the cache's bytes."""
        branch = self.graph.branch()
        outputs = [name, f"{name}.key", f"{name}.value"]
        inputs = [packed, "", "", *self._past(layer)]
        self._attend(branch, layer, inputs, outputs, on_bytes=True)
        return self._declare_outputs(branch, outputs)

    def _read_prompt(self, layer: int, name: str, packed: str) -> GraphBuilder:
        """A piece of one prompt, its keys and values rounded to whole levels."""
        branch = self.graph.branch()
        parts = [f"{name}.{kind}" for kind in ("query", "key", "value")]
        branch.node_with_outputs("Split", [packed], parts, axis=2)
        fresh, past, present = [], [], []
        for part, cache in zip(parts[1:], self._past(layer), strict=True):
            levels = self._levels(branch, part)
            fresh.append(levels)
            present.append(self._write(branch, part, levels, cache))
            past.append(self._read(branch, part, cache))
        outputs = [name, f"{name}.all_keys", f"{name}.all_values"]
        self._attend(branch, layer, [parts[0], *fresh, *past], outputs)
        return self._declare_outputs(branch, [name, *present])

    def _levels(self, branch: GraphBuilder, part: str) -> str:
        """Round to whole levels of the cache, still as floats."""
        rounded = branch.node("Round", [part], f"{part}.rounded")
        bounds = [
            self.graph.constant("cache.lowest", np.array(LOWEST, np.float32)),
            self.graph.constant("cache.highest", np.array(HIGHEST, np.float32)),
        ]
        return branch.node("Clip", [rounded, *bounds], f"{part}.levels")

    def _write(self, branch: GraphBuilder, part: str, levels: str, cache: str) -> str:
        """Put the piece [1, sequence, width] into the cache; return the cache."""
        heads = np.array([-1, self.shape.n_head, self.shape.head_dim], np.int64)
        bytes_ = branch.node("Cast", [levels], f"{part}.bytes", to=3)
        bytes_ = branch.node(
            "Reshape", [bytes_, self.graph.constant("cache.heads", heads)], f"{part}.heads"
        )
        bytes_ = branch.node("Transpose", [bytes_], f"{part}.rows", perm=[1, 0, 2])
        return branch.node("ScatterND", [cache, CACHE_ROWS, bytes_], f"{part}.present")

    def _read(self, branch: GraphBuilder, part: str, cache: str) -> str:
        """What the cache holds of the prompt already, as floats."""
        first = self.graph.constant("cache.first", np.array([0], np.int64))
        axis = self.graph.constant("cache.axis", np.array([2], np.int64))
        bytes_ = branch.node("Slice", [cache, first, PROMPT_START, axis], f"{part}.past_bytes")
        return branch.node("Cast", [bytes_], f"{part}.past", to=1)

    def _declare_outputs(self, branch: GraphBuilder, names: list[str]) -> GraphBuilder:
        branch.output(names[0], "float32", ["batch", "sequence", self.shape.n_embd])
        for name in names[1:]:
            branch.output(name, self._dtype, self._cache)
        return branch

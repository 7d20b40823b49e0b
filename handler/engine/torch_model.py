"""GPT-2 in plain torch, fp32: the reference, and the engine of checkpoints that need it.

Follows transformers' GPT2LMHeadModel. Slower than the native engine, and a row's last bits may
depend on its neighbours, since torch's matrix products choose their kernels by the size of the
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import safe_open

from handler.engine.errors import ModelError
from handler.engine.model import ModelShape
from handler.engine.sampler import answer
from handler.engine.settings import EngineSettings
from handler.engine.step import (
    NO_TOKEN,
    Answer,
    Ask,
    Deadline,
    DecodeStep,
    Draw,
    Embed,
    Rows,
)
from handler.engine.torch_buffer import TorchBuffer

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
}


class TorchModel:
    """Runs a checkpoint's weights as they are."""

    is_exact = False
    isa = ""

    def __init__(
        self, weights: dict[str, torch.Tensor], shape: ModelShape, settings: EngineSettings
    ) -> None:
        self.shape = shape
        self.buffer = TorchBuffer(
            layers=shape.layers,
            slots=settings.slots,
            heads=shape.heads,
            max_length=shape.max_length,
            head_dim=shape.width // shape.heads,
        )
        self._weights = weights
        self._head = weights["wte.weight" if shape.tied_head else "lm_head.weight"]
        # torch.from_numpy shares the memory: what is written here is in the buffer.
        self._keys = [torch.from_numpy(array) for array in self.buffer.keys]
        self._values = [torch.from_numpy(array) for array in self.buffer.values]
        torch.set_num_threads(settings.num_threads)

    @classmethod
    def load(cls, path: Path, shape: ModelShape, settings: EngineSettings) -> TorchModel:
        """Load safetensors, with or without the names' prefix `transformer.`.

        Raises:
            ModelError: The file is missing, broken or not GPT-2's.
        """
        try:
            with safe_open(path, framework="pt") as file:
                weights = {
                    name.removeprefix("transformer."): file.get_tensor(name).float()
                    for name in file.keys()  # noqa: SIM118 - not a mapping
                    if not name.endswith((".attn.bias", ".attn.masked_bias"))
                }
            return cls(weights, shape, settings)
        except Exception as error:  # safetensors and torch raise many kinds
            raise ModelError(f"model.safetensors cannot be loaded: {error!r}") from None

    @torch.inference_mode()
    def step(self, rows: Rows, asks: Sequence[Ask]) -> list[Answer]:
        """See `Model.step`: rows of their own are computed together, chunks one after the other."""
        hidden = torch.empty(len(rows), self.shape.width)
        _, first, counts = np.unique(rows[:, 1], return_index=True, return_counts=True)
        chunks = [slice(start, start + count)
                  for start, count in zip(first, counts) if count > 1]  # fmt: skip
        for chunk in chunks:
            hidden[chunk] = self._hidden(rows[None, chunk])[0]
        single = first[counts == 1]
        if len(single):
            hidden[single] = self._hidden(rows[single, None])[:, 0]
        scored = dict.fromkeys(ask.row for ask in asks if not isinstance(ask, Embed))
        want = {row: index for index, row in enumerate(scored)}
        logits = (hidden[list(want)] @ self._head.T).numpy()
        return [
            Answer(NO_TOKEN, hidden=hidden[ask.row :][: ask.count].numpy())
            if isinstance(ask, Embed)
            else answer(logits[want[ask.row]], ask)
            for ask in asks
        ]

    def decode(
        self,
        rows: Rows,
        draws: Sequence[Draw],
        uniforms: npt.NDArray[np.float64],
        until: Deadline,
    ) -> list[DecodeStep]:
        """See `Model.decode`: one step."""
        return [DecodeStep.of(self.step(rows, draws))]

    def _hidden(self, rows: Rows) -> torch.Tensor:
        """Final hidden states [batch, sequence, width] of rows [batch, sequence, 3].

        Each sequence is of one slot; its keys and values are written.
        """
        weights = self._weights
        ids, slots, positions = torch.from_numpy(rows.astype(np.int64)).unbind(-1)
        # bool [batch, sequence, keys]: what each query may look at.
        mask = positions[..., None] >= torch.arange(int(positions.max()) + 1)
        hidden = weights["wte.weight"][ids] + weights["wpe.weight"][positions]
        for layer in range(self.shape.layers):
            prefix = f"h.{layer}."
            attended = self._attention(layer, self._norm(hidden, prefix + "ln_1"), positions,
                                       slots[:, 0], mask)  # fmt: skip
            hidden = hidden + attended
            inner = self._linear(self._norm(hidden, prefix + "ln_2"), prefix + "mlp.c_fc")
            inner = ACTIVATIONS[self.shape.activation](inner)
            hidden = hidden + self._linear(inner, prefix + "mlp.c_proj")
        return self._norm(hidden, "ln_f")

    def _attention(
        self,
        layer: int,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        slots: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        batch, sequence, width = hidden.shape
        heads = (batch, sequence, self.shape.heads, -1)
        query, key, value = self._linear(hidden, f"h.{layer}.attn.c_attn").chunk(3, dim=-1)
        # [batch, 1] and [batch, sequence] index slot and position; the heads lie between them.
        self._keys[layer][slots[:, None], :, positions] = key.view(heads)
        self._values[layer][slots[:, None], :, positions] = value.view(heads)
        length = mask.shape[-1]
        attended = F.scaled_dot_product_attention(
            query.view(heads).transpose(1, 2),
            self._keys[layer][slots, :, :length],
            self._values[layer][slots, :, :length],
            attn_mask=mask[:, None],
            scale=self.shape.attention_scale(layer),
        )
        merged = attended.transpose(1, 2).reshape(batch, sequence, width)
        return self._linear(merged, f"h.{layer}.attn.c_proj")

    def _linear(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        """GPT-2's Conv1D: weights [in, out]."""
        return hidden @ self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]

    def _norm(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        gain, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(hidden, (self.shape.width,), gain, bias, self.shape.epsilon)

"""GPT-2 in plain torch, fp32: the reference, and the engine of checkpoints that need it.

Follows transformers' GPT2LMHeadModel. Slower than ONNX Runtime, and a row's last bits may depend on
its neighbours, since torch's matrix products choose their kernels by the size of the batch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import safe_open

from handler.engine.model import Logits, ModelShape
from handler.engine.sampler import NumpySampler
from handler.engine.settings import EngineSettings
from handler.errors import ModelError

Ids = npt.NDArray[np.int64]


class TorchModel:
    """Runs a checkpoint's weights as they are."""

    def __init__(
        self, weights: dict[str, torch.Tensor], shape: ModelShape, settings: EngineSettings
    ) -> None:
        self.shape = shape
        self.sampler = NumpySampler()
        self.is_exact = False
        self.slab = shape.slab(settings.slots)
        self._weights = weights
        self._head = weights["wte.weight" if shape.tied_head else "lm_head.weight"]
        # torch.from_numpy shares the memory: what is written here is in the slab.
        self._keys = [torch.from_numpy(array) for array in self.slab.keys]
        self._values = [torch.from_numpy(array) for array in self.slab.values]
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
            raise ModelError(f"model.safetensors can not be loaded: {error!r}") from None

    @torch.inference_mode()
    def prefill(self, slot: int, tokens: Ids, start: int, num_logits: int) -> Logits:
        """See `Model.prefill`."""
        positions = torch.arange(start, start + len(tokens))
        length = start + len(tokens)
        mask = positions[:, None] >= torch.arange(length)[None, :]
        rows = torch.tensor([slot])
        hidden = self._hidden(torch.from_numpy(tokens)[None], positions[None], rows, mask[None])
        return self._logits(hidden[0, len(tokens) - num_logits :])

    @torch.inference_mode()
    def decode(self, tokens: Ids, lengths: Ids) -> Logits:
        """See `Model.decode`."""
        positions = torch.from_numpy(lengths)[:, None]
        mask = positions >= torch.arange(int(lengths.max()) + 1)[None, :]
        rows = torch.arange(len(tokens))
        hidden = self._hidden(torch.from_numpy(tokens)[:, None], positions, rows, mask[:, None])
        return self._logits(hidden[:, 0])

    def _hidden(
        self, ids: torch.Tensor, positions: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Final hidden states [batch, sequence, width]; writes the keys and values of `positions`.

        mask: bool [batch, sequence, keys], what each query may look at.
        """
        weights = self._weights
        hidden = weights["wte.weight"][ids] + weights["wpe.weight"][positions]
        for layer in range(self.shape.layers):
            prefix = f"h.{layer}."
            attended = self._attention(layer, self._norm(hidden, prefix + "ln_1"), positions,
                                       rows, mask)  # fmt: skip
            hidden = hidden + attended
            inner = self._linear(self._norm(hidden, prefix + "ln_2"), prefix + "mlp.c_fc")
            inner = F.gelu(inner, approximate="tanh")
            hidden = hidden + self._linear(inner, prefix + "mlp.c_proj")
        return self._norm(hidden, "ln_f")

    def _attention(
        self,
        layer: int,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        batch, sequence, width = hidden.shape
        heads = (batch, sequence, self.shape.heads, -1)
        query, key, value = self._linear(hidden, f"h.{layer}.attn.c_attn").chunk(3, dim=-1)
        # [rows, 1] and [rows, sequence] index slot and position; the heads lie between them.
        self._keys[layer][rows[:, None], :, positions] = key.view(heads)
        self._values[layer][rows[:, None], :, positions] = value.view(heads)
        length = mask.shape[-1]
        attended = F.scaled_dot_product_attention(
            query.view(heads).transpose(1, 2),
            self._keys[layer][rows, :, :length],
            self._values[layer][rows, :, :length],
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

    def _logits(self, hidden: torch.Tensor) -> Logits:
        logits: Logits = (hidden @ self._head.T).numpy()
        return logits

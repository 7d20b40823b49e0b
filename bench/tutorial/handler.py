"""GPT-2 behind TorchServe as tutorials do it: load, one request at a time, `generate`."""

from __future__ import annotations

import json
import os
from typing import Any

import torch
from transformers import GPT2LMHeadModel
from ts.torch_handler.base_handler import BaseHandler


class TutorialHandler(BaseHandler):  # type: ignore[misc]
    """Batch size 1, whole replies, float32."""

    def initialize(self, context: Any) -> None:
        """Load the checkpoint out of the archive."""
        directory = context.system_properties["model_dir"]
        self.model = GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32).eval()
        self.initialized = True

    def preprocess(self, requests: list[dict[str, Any]]) -> Any:
        """Read the one request."""
        body: Any = requests[0].get("body") or requests[0].get("data")
        return body if isinstance(body, dict) else json.loads(body)

    def inference(self, body: Any) -> Any:
        """Write the text, greedily, so that its length is the same for everyone."""
        ids = torch.tensor([body["input_ids"]])
        with torch.inference_mode():
            return self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=body["max_new_tokens"],
                min_new_tokens=body["max_new_tokens"],
                do_sample=False,
                pad_token_id=0,
            )

    def postprocess(self, outputs: Any) -> list[Any]:
        """Return the token ids: the bench's random weights write no text."""
        return [{"ids": outputs[0].tolist(), "pid": os.getpid()}]

"""Adapters as PEFT itself writes them: what is merged here is what PEFT merges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from archive.checkpoint import open_checkpoint
from archive.hub import find_checkpoint
from tests.archive.test_checkpoint_layouts import put_tokenizer
from tests.archive.tiny import tiny_config

MODULES = ["c_attn", "c_proj", "c_fc"]
KINDS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "rsLoRA, with ranks and alphas of their own": {
        "use_rslora": True,
        "rank_pattern": {"mlp.c_fc": 3},
        "alpha_pattern": {"attn.c_proj": 5},
    },
    "DoRA": {"use_dora": True},
    "an embedding": {"target_modules": ["wte", "c_attn"]},
    "whole modules": {"modules_to_save": ["ln_f"]},
}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, at what PEFT asks it
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_it_is_merged_as_peft_merges_it(tmp_path: Path, kind: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**tiny_config()))
    model.save_pretrained(tmp_path / "base")
    put_tokenizer(tmp_path / "base")
    given = {"fan_in_fan_out": True, "r": 4, "lora_alpha": 9, "target_modules": MODULES}
    config = LoraConfig(**given | kind)
    adapted = get_peft_model(model, config)
    for name, values in adapted.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(values, 1.0 if "magnitude" in name else 0.0, 0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    says = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    says["base_model_name_or_path"] = "../base"
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(says))
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")

    source = find_checkpoint(str(tmp_path / "adapter"))
    checkpoint = open_checkpoint(source.path, source.name, source.tokenizer, source.base)
    expected = load_file(tmp_path / "merged" / "model.safetensors")
    for name, weight in expected.items():
        plain = name.removeprefix("transformer.")
        if plain in checkpoint.weights:
            assert np.allclose(checkpoint.weights[plain], weight, rtol=2e-6, atol=2e-6), name
    assert {*checkpoint.weights} <= {name.removeprefix("transformer.") for name in expected}

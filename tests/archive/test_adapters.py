"""Adapters as PEFT itself writes them: what is served is what PEFT computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from archive.checkpoint import Checkpoint, open_checkpoint
from archive.errors import CheckpointError
from archive.hub import find_checkpoint
from tests.archive.test_checkpoint_layouts import put_tokenizer, torch_model
from tests.archive.tiny import tiny_config

MODULES = ["c_attn", "c_proj", "c_fc"]
KINDS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "rsLoRA, with ranks and alphas of their own": {
        "use_rslora": True,
        "rank_pattern": {"mlp.c_fc": 3},
        "alpha_pattern": {"attn.c_proj": 5},
    },
    "ranks and alphas by whole names": {
        "rank_pattern": {"transformer.h.0.attn.c_attn": 2, r"^transformer\.h\.1\.mlp\.c_fc": 3},
        "alpha_pattern": {r"transformer\.h\.\d+\.attn\.c_proj": 31, "^h.0.mlp.c_fc": 77},
    },
    "DoRA": {"use_dora": True},
    "some layers": {"layers_to_transform": [1]},
    "an expression": {"target_modules": r".*\.h\.[01]\.mlp\.c_(fc|proj)"},
    "biases of what it changes": {"bias": "lora_only"},
    "all biases": {"bias": "all"},
    "an embedding": {"target_modules": ["wte", "c_attn"]},
    "the head": {"target_modules": ["lm_head", "c_attn"]},
    "both": {"target_modules": ["wte", "lm_head"]},
    "positions": {"target_modules": ["wpe", "c_attn"]},
    "whole modules": {"modules_to_save": ["ln_f"]},
    "a whole embedding": {"modules_to_save": ["wte"]},
    "a whole head": {"modules_to_save": ["lm_head"]},
    "a whole embedding and head": {"modules_to_save": ["wte", "lm_head"]},
    "orthogonal at the start": {"init_lora_weights": "orthogonal"},
}
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 53, 58, 7551]])


def trained(directory: Path, tied: bool, kind: dict[str, Any]) -> torch.Tensor:
    """Write base and adapter as libraries do; return what the two compute together."""
    # Imported here: it takes seconds, which each process that collects tests would spend.
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**tiny_config(tie_word_embeddings=tied)))
    for name, values in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(values, 0.0, 0.1)
    model.save_pretrained(directory / "base")
    put_tokenizer(directory / "base")
    given = {"fan_in_fan_out": True, "r": 4, "lora_alpha": 9, "target_modules": MODULES}
    adapted = get_peft_model(model, LoraConfig(**given | kind))
    for name, values in adapted.named_parameters():
        if values.requires_grad:
            torch.nn.init.normal_(values, 1.0 if "magnitude" in name else 0.0, 0.1)
    adapted.save_pretrained(directory / "adapter")
    says = json.loads((directory / "adapter" / "adapter_config.json").read_text())
    says["base_model_name_or_path"] = "../base"
    (directory / "adapter" / "adapter_config.json").write_text(json.dumps(says))
    with torch.inference_mode():
        return adapted.eval()(IDS).logits[0]


def opened(directory: Path) -> Checkpoint:
    source = find_checkpoint(str(directory))
    return open_checkpoint(source.path, source.name, source.tokenizer, source.base)


@pytest.mark.filterwarnings("ignore")  # of transformers and PEFT, at what they ask each other
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_it_computes_what_peft_computes(tmp_path: Path, kind: dict[str, Any], tied: bool) -> None:
    expected = trained(tmp_path, tied, kind)
    model = torch_model(opened(tmp_path / "adapter"))
    with torch.inference_mode():
        logits = model(IDS).logits[0]
    assert torch.allclose(logits, expected, rtol=1e-5, atol=2e-5)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "single tokens of the embedding": (
        {"trainable_token_indices": {"wte": [1, 2]}},
        "which is no plain LoRA; merge it with PEFT",
    ),
    "PiSSA": (
        {"init_lora_weights": "pissa", "target_modules": ["lm_head"]},
        "init_lora_weights is 'pissa', which changes the base, too; merge it with PEFT",
    ),
    "OLoRA": (
        {"init_lora_weights": "olora", "target_modules": ["lm_head"]},
        "is 'olora', which changes the base, too",
    ),
    "biases of factors": (
        {"lora_bias": True, "target_modules": ["lm_head"]},
        "which is no plain LoRA",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_sum_of_factors_is_refused(
    tmp_path: Path, kind: dict[str, Any], words: str
) -> None:
    trained(tmp_path, True, kind)
    with pytest.raises(CheckpointError) as told:
        opened(tmp_path / "adapter")
    assert words in str(told.value) and "merge_and_unload" in str(told.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rank", [0, 3, "4", None])
def test_a_rank_that_is_not_the_factors_is_refused(tmp_path: Path, rank: object) -> None:
    trained(tmp_path, True, {})
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": rank}))
    with pytest.raises(CheckpointError, match="the rank of .* its factors have 4"):
        opened(tmp_path / "adapter")

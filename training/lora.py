"""LoRA, by peft: small matrices are trained beside the weights, and added to them at the end."""

from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GPT2LMHeadModel

# All matrices of a block; embeddings stay as they are.
MATRICES = ["c_attn", "c_proj", "c_fc"]
# What is learnt is scaled by alpha / rank: at two, as peft's users mostly have it.
ALPHA_PER_RANK = 2


def add_lora(model: GPT2LMHeadModel, rank: int) -> PeftModel:
    """Freeze the model and put trainable matrices of ``rank`` beside its own."""
    config = LoraConfig(
        r=rank,
        lora_alpha=ALPHA_PER_RANK * rank,
        target_modules=MATRICES,
        fan_in_fan_out=True,  # GPT-2 keeps its matrices as [in, out]
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def merge_lora(model: Any) -> GPT2LMHeadModel:
    """The model with what was learnt added to its weights; itself, where it has no LoRA."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def count_trainable(layers: int, width: int, rank: int) -> int:
    """Weights that LoRA trains: [in, rank] and [rank, out] for each matrix of each block."""
    return layers * rank * ((1 + 3) + (1 + 1) + (1 + 4) + (4 + 1)) * width

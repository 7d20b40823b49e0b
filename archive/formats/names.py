"""Turns whatever a tool calls GPT-2's tensors into the names of GPT2LMHeadModel.

Names come without `transformer.`: wte.weight, h.0.attn.c_attn.weight, lm_head.weight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from archive.errors import CheckpointError
from archive.formats.tensors import StoredTensor

# torch.compile and FSDP put these before the name of any module that they wrap.
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "base_layer.")
# DataParallel, PEFT, TRL, Lightning and people's own classes put these in front, also several.
PREFIXES = (
    *("module.", "_module.", "base_model.", "pretrained_model.", "model.", "gpt2.", "gpt.", "lm."),
    "transformer.",
)
# Causal masks that old checkpoints carry along; they are not weights.
MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias|mask)")
PARTS = re.compile(r"(wte|wpe|ln_f|lm_head)\.(weight|bias)|h\.\d+\.\S+")
# What bitsandbytes, GPTQ and AWQ keep beside weights that are no floats.
QUANTISED = re.compile(
    r"\.(SCB|weight_format|absmax|quant_map|nested_\w+|quant_state\.\S+|qweight|qzeros|scales)$"
)
CROSS_ATTENTION = ".crossattention."


def plain_names(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the tensors by GPT2LMHeadModel's names, without masks; what it has not keeps its own.

    Raises CheckpointError if two tensors have the same place, or if weights are quantised.
    """
    found: dict[str, StoredTensor] = {}
    given: dict[str, str] = {}
    for name, tensor in tensors.items():
        if QUANTISED.search(name):
            raise CheckpointError(
                f"the weights are quantised ({name} says so), not floats: load the model with "
                "transformers, then model.dequantize().save_pretrained(DIR)"
            )
        plain = plain_name(name)
        if MASK.fullmatch(plain):
            continue
        if plain in found:
            raise CheckpointError(f"{name} and {given[plain]} are both {plain}: two models in one?")
        found[plain], given[plain] = tensor, name
    return found


def plain_name(name: str) -> str:
    """Return GPT2LMHeadModel's name for a tensor, without `transformer.`.

    >>> plain_name("module._orig_mod.transformer.h.0.ln_1.gamma")
    'h.0.ln_1.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    short = name
    while (prefix := next((p for p in PREFIXES if short.startswith(p)), None)) is not None:
        short = short.removeprefix(prefix)
    short = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", short))
    short = short.replace("lm_head.decoder.", "lm_head.")  # of 2019, as DialoGPT has it
    return short if PARTS.fullmatch(short) else name


def is_part(name: str) -> bool:
    """Whether a plain name is one that a GPT-2 language model may have."""
    return PARTS.fullmatch(name) is not None and CROSS_ATTENTION not in name

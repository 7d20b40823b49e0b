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
    *("_forward_module.", "net.", "network.", "backbone.", "generator.", "policy.", "actor."),
    *("language_model.", "lm_model.", "decoder.", "gpt_model.", "transformer."),
)
# Causal masks that old checkpoints carry along; they are not weights.
MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias|mask|causal_mask|tril)")
PARTS = re.compile(r"(wte|wpe|ln_f|lm_head)\.(weight|bias)|h\.\d+\.\S+")
# The same behind names that nobody else gives: a person's own class, with a GPT-2 in it.
INNER = re.compile(rf".+?\.(?P<part>{PARTS.pattern})")
# What a layer of GPT-2 has; whatever else lies in one would change what it computes.
LAYER = re.compile(
    r"h\.\d+\.(ln_1|ln_2|attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.(weight|bias)"
)
# transformers leaves them out too, where config.json asks for no cross attention.
CROSS_ATTENTION = re.compile(r"h\.\d+\.(crossattention|ln_cross_attn)\.\S+")
# What tools keep beside weights that are no floats, and what people call the tool.
QUANTISED = {
    "bitsandbytes": r"SCB|weight_format|absmax|quant_map|nested_\w+|quant_state\.\S+",
    "MLX": r"biases",
    "ExLlamaV2": r"q_(weight|scale|scale_max|invperm|perm|groups|group_map)",
    "GPTQ or AWQ": r"qweight|qzeros|scales|g_idx",
    "compressed-tensors": r"weight_(packed|scale|zero_point|shape|g_idx|global_scale)|input_scale",
    "quanto": r"weight\._(data|scale|shift)",
    "HQQ": r"W_q|W_q\.\S+",
    "AQLM": r"codes|codebooks",
    "EETQ": r"weight_scales",
    "PyTorch's own quantisation": r"_packed_params\.\S+|weight_fake_quant\.\S+",
}
QUANTISERS = {tool: re.compile(rf".*\.(?:{parts})") for tool, parts in QUANTISED.items()}
FACTORS = re.compile(r"\.lora_|\.ia3_|\.hada_|\.lokr_|\.oft_|\.vera_|adapter")


def plain_names(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the tensors by GPT2LMHeadModel's names, without masks; what it has not keeps its own.

    Raises CheckpointError if two tensors have the same name, or if weights are quantised.
    """
    found: dict[str, StoredTensor] = {}
    given: dict[str, str] = {}
    for name, tensor in tensors.items():
        plain = plain_name(name)
        if MASK.fullmatch(plain):
            continue
        _check_floats(name)
        _check_layer(name, plain)
        if plain in found:
            raise CheckpointError(
                f"{name} and {given[plain]} are both {plain}: there are two models in one; save "
                "the one that is meant by itself"
            )
        found[plain], given[plain] = tensor, name
    return found


def plain_name(name: str) -> str:
    """Return GPT2LMHeadModel's name for a tensor, without `transformer.`.

    >>> plain_name("module._orig_mod.transformer.h.0.ln_1.gamma")
    'h.0.ln_1.weight'
    >>> plain_name("chatbot.writer.transformer.wte.weight")
    'wte.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    short = name
    while (prefix := next((p for p in PREFIXES if short.startswith(p)), None)) is not None:
        short = short.removeprefix(prefix)
    short = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", short))
    short = short.replace("lm_head.decoder.", "lm_head.")  # of 2019, as DialoGPT has it
    if PARTS.fullmatch(short):
        return short
    inner = INNER.fullmatch(short)
    return name if inner is None else inner["part"]


def _check_floats(name: str) -> None:
    tool = next((tool for tool, parts in QUANTISERS.items() if parts.fullmatch(name)), None)
    if tool is not None:
        raise CheckpointError(
            f"the weights are quantised by {tool} ({name} says so), not floats: take the model "
            "that they were made from, or load them with transformers, then "
            "model.dequantize().save_pretrained(DIR)"
        )


def _check_layer(name: str, plain: str) -> None:
    """Refuse what a layer of GPT-2 has not: left out in silence, another model would be served."""
    if LAYER.fullmatch(plain) or not PARTS.fullmatch(plain) or not plain.startswith("h."):
        return
    if CROSS_ATTENTION.fullmatch(plain):
        return
    if FACTORS.search(name):
        raise CheckpointError(
            f"the weights have an adapter among them ({name}), and no adapter_config.json says how "
            "it is added: merge it with PEFT, model.merge_and_unload().save_pretrained(DIR)"
        )
    raise CheckpointError(
        f"{name} is not part of a GPT-2 layer: this is another architecture, which is not supported"
    )


def is_layer(name: str) -> bool:
    """Whether a plain name is that of a part of one of GPT-2's layers."""
    return LAYER.fullmatch(name) is not None

"""Checkpoints that are refused: what is done to a good one, and the words that come."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from tests.archive.spoil import (
    RunsCode,
    Spoil,
    adapter,
    after,
    as_gguf,
    as_llm_c,
    beyond,
    config,
    ctranslate2,
    cut,
    cut_otherwise,
    dangling,
    expanded,
    gguf_bytes,
    header,
    holding,
    instead,
    larger,
    less_packed,
    made,
    mlx_units,
    not_finite,
    old_mini,
    one_deeper,
    other_gguf,
    parts_alone,
    pickled,
    plain_factors,
    plain_pickle,
    pointer,
    run_of_trainer,
    shard_away,
    torch_script,
    twice,
    two_ggufs,
    with_arrays,
    without,
    zip_bomb,
)
from tests.archive.tiny import GITHUB, HUB, full


@dataclass(frozen=True)
class Refused:
    """What is done to a directory with a good model.safetensors, and what is said then."""

    source: str
    spoil: Spoil
    words: str


BASE = {"base_model_name_or_path": "base"}
REFUSED: dict[str, Refused] = {
    "a pickle that runs code": Refused(
        HUB + "docs/hub/security-pickle",
        pickled(lambda state: state | {"code": RunsCode()}),
        "pytorch_model.bin is a pickle that needs more than tensors: posix.system, which is never "
        "run here; load it where you trust it, and save it with model.save_pretrained(DIR)",
    ),
    "a bare pickle": Refused(
        HUB + "docs/hub/security-pickle",
        plain_pickle,
        "pytorch_model.bin cannot be read: it is broken, cut short or not a file of torch.save",
    ),
    "a zip bomb": Refused(
        GITHUB + "pytorch/pytorch/security",
        zip_bomb,
        "pytorch_model.bin cannot be read: its parts are compressed, as torch.save never does",
    ),
    "a tensor of a terabyte in one number": Refused(
        GITHUB + "pytorch/pytorch/security",
        pickled(expanded),
        "pytorch_model.bin cannot be read: transformer.wte.weight is larger than the file",
    ),
    "pytorch_model.bin cut short": Refused(
        GITHUB + "huggingface/transformers/issues/27923",
        after(pickled(lambda state: state), cut("pytorch_model.bin", 100_000)),
        "pytorch_model.bin cannot be read: it is broken or cut short",
    ),
    "safetensors cut short": Refused(
        GITHUB + "huggingface/transformers/issues/27923",
        cut("model.safetensors", 100_000),
        "model.safetensors is broken or cut short (",
    ),
    "safetensors that lie behind the file's end": Refused(
        HUB + "docs/safetensors/index",
        header(beyond),
        "model.safetensors is broken or cut short (wte.weight lies beyond the end of the file)",
    ),
    "safetensors with a shape that lies": Refused(
        HUB + "docs/safetensors/index",
        header(larger),
        "model.safetensors is broken or cut short (wte.weight has a size that does not "
        "match its shape)",
    ),
    "a Git LFS pointer": Refused(
        GITHUB + "AUTOMATIC1111/stable-diffusion-webui/issues/8123",
        pointer("model.safetensors"),
        'model.safetensors is not here yet, only its Git LFS pointer: run "git lfs pull" in the '
        "checkpoint's directory",
    ),
    "a Git LFS pointer in place of another file": Refused(
        GITHUB + "AUTOMATIC1111/stable-diffusion-webui/issues/8123",
        pointer("tokenizer.json"),
        'tokenizer.json is not here yet, only its Git LFS pointer: run "git lfs pull" in the '
        "checkpoint's directory",
    ),
    "values that are not finite": Refused(
        GITHUB + "karpathy/nanoGPT/issues/325",
        with_arrays(not_finite),
        "model.safetensors: h.1.mlp.c_fc.weight holds values that are not finite; download it "
        "again, or take a checkpoint from before the training went wrong",
    ),
    "two models in one": Refused(
        GITHUB + "huggingface/trl/pull/86",
        with_arrays(twice),
        "there are two models in one; save the one that is meant by itself",
    ),
    "no config.json": Refused(
        HUB + "docs/accelerate/usage_guides/checkpoint",
        without("config.json"),
        "no config.json in the checkpoint: copy it from the model that it was trained from, or "
        "save the model with model.save_pretrained(DIR)",
    ),
    "a part that is missing": Refused(
        HUB + "docs/transformers/main/big_models",
        shard_away,
        "pytorch_model-00002-of-00002.bin is missing, and pytorch_model.bin.index.json needs it: "
        "get it from where that came from",
    ),
    "GGUF that cuts texts otherwise": Refused(
        GITHUB + "ggml-org/llama.cpp",
        cut_otherwise,
        "give the one that it was trained with: --tokenizer gpt2, DIR or HUB_ID",
    ),
    "an adapter of PiSSA": Refused(
        GITHUB + "huggingface/peft",
        adapter(BASE | {"init_lora_weights": "pissa"}),
        "adapter_config.json: init_lora_weights is 'pissa', which changes the base, too; merge it "
        "with PEFT: model.merge_and_unload().save_pretrained(DIR)",
    ),
    "GPTQ and AWQ": Refused(
        GITHUB + "AutoGPTQ/AutoGPTQ",
        with_arrays(lambda found: found | {"h.0.mlp.c_fc.qweight": np.ones((6, 192), np.int32)}),
        "the weights are quantised by GPTQ or AWQ (h.0.mlp.c_fc.qweight says so), not floats: take "
        "the model that they were made from",
    ),
    "AWQ": Refused(
        GITHUB + "casper-hansen/AutoAWQ",
        with_arrays(lambda found: found | {"h.0.mlp.c_fc.qzeros": np.ones((6, 24), np.int32)}),
        "the weights are quantised by GPTQ or AWQ (h.0.mlp.c_fc.qzeros says so), not floats",
    ),
    "MLX, quantised": Refused(
        GITHUB + "ml-explore/mlx-lm",
        with_arrays(mlx_units),
        "the weights are quantised by MLX (h.0.attn.c_attn.biases says so), not floats",
    ),
    "MLX's weights.npz": Refused(
        GITHUB + "ml-explore/mlx-examples",
        instead("weights.npz"),
        "weights.npz is NumPy's arrays, which say no names that are known: save it as safetensors",
    ),
    "ExLlamaV2": Refused(
        GITHUB + "turboderp-org/exllamav2",
        with_arrays(lambda found: found | {"h.0.mlp.c_fc.q_scale": np.ones((6, 24), np.int32)}),
        "the weights are quantised by ExLlamaV2 (h.0.mlp.c_fc.q_scale says so), not floats",
    ),
    "CTranslate2": Refused(
        GITHUB + "OpenNMT/CTranslate2",
        ctranslate2,
        "model.bin is CTranslate2's, an export for another program: take the checkpoint that it "
        "was made from",
    ),
    "TensorRT-LLM": Refused(
        GITHUB + "NVIDIA/TensorRT-LLM",
        instead("rank0.engine"),
        "rank0.engine is TensorRT's, an export for another program",
    ),
    "TensorRT-LLM's checkpoint": Refused(
        GITHUB + "NVIDIA/TensorRT-LLM",
        instead("rank0.safetensors"),
        "rank0.safetensors is TensorRT-LLM's, an export for another program",
    ),
    "consolidated.00.pth": Refused(
        GITHUB + "meta-llama/llama",
        instead("consolidated.00.pth"),
        "consolidated.00.pth is Meta's or Mistral's format, which GPT-2 does not have",
    ),
    "GGUF of another architecture": Refused(
        GITHUB + "ggml-org/llama.cpp",
        other_gguf,
        "model.gguf is not GPT-2: its general.architecture is 'llama'",
    ),
    "GGML from before GGUF": Refused(
        GITHUB + "ggml-org/ggml",
        holding("ggml-model-f16.bin", b"lmgg" + bytes(400)),
        "ggml-model-f16.bin is GGML from before GGUF: convert the checkpoint again",
    ),
    "a .bin of nobody's": Refused(
        GITHUB + "huggingface/transformers",
        holding("weights.bin", bytes(range(1, 256)) * 20),
        "weights.bin cannot be read: it is broken, cut short or not a file of torch.save",
    ),
    "a web page in place of weights": Refused(
        HUB + "docs/hub/models-downloading",
        holding("pytorch_model.bin", b"<!DOCTYPE html>\n<html>"),
        "pytorch_model.bin is a web page, not weights: download it again",
    ),
    "an error in place of weights": Refused(
        HUB + "docs/hub/models-downloading",
        holding("model.safetensors", b'{"error": "Repository not found"}'),
        "model.safetensors is JSON, not weights, such as an error that came in place of a download",
    ),
    "nothing but zeros": Refused(
        GITHUB + "huggingface/huggingface_hub",
        holding("model.safetensors", bytes(5000)),
        "model.safetensors holds nothing but zeros: download it again",
    ),
    "Keras' own file": Refused(
        GITHUB + "keras-team/keras",
        instead("model.keras"),
        "model.keras is Keras' own: load it, and save it with transformers 4",
    ),
    "Orbax": Refused(
        GITHUB + "google/orbax",
        instead("manifest.ocdbt"),
        "manifest.ocdbt is Orbax's, of JAX: load it, and save it with transformers 4",
    ),
    "parts without their index": Refused(
        HUB + "docs/transformers/main/big_models",
        parts_alone,
        "the weights are in parts (model-00001-of-00002.safetensors, "
        "model-00002-of-00002.safetensors), and their index is not there",
    ),
    "a link to what is not there": Refused(
        HUB + "docs/huggingface_hub/guides/manage-cache",
        dangling,
        "model.safetensors is a link to what is not there: download it again",
    ),
    "a number of layers that lies": Refused(
        GITHUB + "huggingface/transformers",
        config(n_layer=10**9),
        "config.json: n_layer is 1,000,000,000, and the weights have ",
    ),
    "compressed-tensors": Refused(
        GITHUB + "vllm-project/llm-compressor",
        with_arrays(lambda found: found | {"h.0.mlp.c_fc.weight_scale": np.ones(192, np.float32)}),
        "the weights are quantised by compressed-tensors (h.0.mlp.c_fc.weight_scale says so)",
    ),
    "int8 without scales": Refused(
        GITHUB + "bitsandbytes-foundation/bitsandbytes",
        with_arrays(lambda found: found | {"wpe.weight": np.ones((64, 48), np.int8)}),
        "wpe.weight is I8; F32, F16, BF16 or F64 is needed: save the model in floats",
    ),
    "bitsandbytes' scales that do not fit": Refused(
        GITHUB + "bitsandbytes-foundation/bitsandbytes",
        with_arrays(lambda found: found | {"h.0.mlp.c_fc.SCB": np.ones(9, np.float32)}),
        "h.0.mlp.c_fc.SCB does not fit h.0.mlp.c_fc.weight: the checkpoint is broken",
    ),
    "4-bit weights cut short": Refused(
        GITHUB + "bitsandbytes-foundation/bitsandbytes",
        after(made("bitsandbytes_nf4"), header(less_packed)),
        "transformer.h.0.attn.c_attn.weight does not fit its quant_state: the checkpoint is broken",
    ),
    "factors of LoRA without adapter_config.json": Refused(
        GITHUB + "huggingface/peft/issues/365",
        with_arrays(lambda found: full(found) | plain_factors()),
        "the weights have an adapter among them (transformer.h.0.attn.c_attn.lora_A.weight), and "
        "no adapter_config.json says how it is added",
    ),
    "layers with more than GPT-2's": Refused(
        GITHUB + "karpathy/nanoGPT",
        with_arrays(lambda found: found | {"h.0.attn.q_norm.weight": np.ones(12, np.float32)}),
        "h.0.attn.q_norm.weight is not part of a GPT-2 layer: this is another architecture",
    ),
    "one part of several": Refused(
        HUB + "docs/transformers/main/big_models",
        lambda directory: (directory / "model.safetensors").rename(
            directory / "model-00001-of-00002.safetensors"
        ),
        "model-00001-of-00002.safetensors is one part of several: name the directory, or the index",
    ),
    "ONNX": Refused(
        HUB + "docs/optimum/onnx/overview",
        instead("onnx/decoder_model.onnx"),
        "onnx is ONNX, an export for another program: take the checkpoint that it was made from",
    ),
    "Core ML": Refused(
        GITHUB + "huggingface/swift-coreml-transformers",
        instead("gpt2.mlpackage/Manifest.json"),
        "gpt2.mlpackage is Core ML, an export for another program",
    ),
    "rust_model.ot": Refused(
        GITHUB + "guillaume-be/rust-bert",
        instead("rust_model.ot"),
        "rust_model.ot is rust-bert's, an export for another program",
    ),
    "NeMo": Refused(
        GITHUB + "NVIDIA-NeMo/NeMo",
        instead("megatron_gpt.nemo"),
        "megatron_gpt.nemo is NeMo's: convert it with NeMo's scripts/checkpoint_converters",
    ),
    "Megatron": Refused(
        GITHUB + "huggingface/transformers/tree/main/src/transformers/models/megatron_gpt2",
        instead("model_optim_rng.pt"),
        "model_optim_rng.pt is Megatron's: convert it with transformers' "
        "convert_megatron_gpt2_checkpoint.py",
    ),
    "a directory of DeepSpeed": Refused(
        GITHUB + "deepspeedai/DeepSpeed",
        instead("zero_to_fp32.py"),
        "zero_to_fp32.py is DeepSpeed's, in parts of a training run: run python zero_to_fp32.py",
    ),
    "a directory of FSDP": Refused(
        GITHUB + "huggingface/accelerate",
        instead("pytorch_model_fsdp_0/__0_0.distcp"),
        "pytorch_model_fsdp_0 is FSDP's, in parts of a training run: run accelerate merge-weights "
        "pytorch_model_fsdp_0 merged, and name what comes",
    ),
    "LitGPT": Refused(
        GITHUB + "Lightning-AI/litgpt",
        instead("lit_model.pth"),
        "lit_model.pth is LitGPT's: run litgpt convert_from_litgpt",
    ),
    "a ZIP of a directory": Refused(
        GITHUB + "huggingface/transformers/issues/27923",
        instead("my-gpt2.zip"),
        "my-gpt2.zip is packed together: unpack it, and name the directory that comes",
    ),
    "TorchScript": Refused(
        GITHUB + "pytorch/pytorch",
        torch_script,
        "model.pt cannot be read: it is TorchScript, a program, which is never run here",
    ),
    "minGPT of before 2022 without its heads": Refused(
        GITHUB + "karpathy/minGPT",
        old_mini,
        "model.pt is minGPT's from before 2022, and does not say how many heads it has: put a "
        'config.json beside it, such as {"n_head": 8}',
    ),
    "a directory around checkpoints": Refused(
        GITHUB + "huggingface/transformers/issues/698",
        one_deeper,
        "no weights in the directory itself: name one of its checkpoints with --model, such as "
        "model/gpt2",
    ),
    "GPTBigCode": Refused(
        HUB + "bigcode/gpt_bigcode-santacoder",
        config(model_type="gpt_bigcode", architectures=["GPTBigCodeForCausalLM"]),
        "not a GPT-2 language model: config.json says model_type 'gpt_bigcode', architecture "
        "GPTBigCodeForCausalLM; GPT2LMHeadModel is needed",
    ),
    "GPT-Neo": Refused(
        HUB + "EleutherAI/gpt-neo-125m",
        config(model_type="gpt_neo", architectures=["GPTNeoForCausalLM"]),
        "not a GPT-2 language model: config.json says model_type 'gpt_neo'",
    ),
    "GPT-1": Refused(
        HUB + "openai-community/openai-gpt",
        config(model_type="openai-gpt", architectures=["OpenAIGPTLMHeadModel"]),
        "not a GPT-2 language model: config.json says model_type 'openai-gpt'",
    ),
    "Image GPT": Refused(
        HUB + "openai/imagegpt-small",
        config(model_type="imagegpt", architectures=["ImageGPTForCausalImageModeling"]),
        "not a GPT-2 language model: config.json says model_type 'imagegpt'",
    ),
    "wrong shapes": Refused(
        GITHUB + "huggingface/transformers/issues/698",
        with_arrays(lambda found: found | {"wpe.weight": found["wpe.weight"][:9]}),
        "wpe.weight has shape [9, 48], config.json asks for [64, 48]: is it the "
        "config.json of these weights?",
    ),
    "a layer that is missing": Refused(
        GITHUB + "andreamad8/DialoGPT2-Interact/issues/1",
        config(n_layer=3),
        "the checkpoint lacks h.2.ln_1.weight and 11 more: download or save it again, all of it",
    ),
    "a classifier without lm_head": Refused(
        HUB + "docs/transformers/model_doc/gpt2",
        config(architectures=["GPT2ForSequenceClassification"]),
        "config.json names GPT2ForSequenceClassification, and the weights have no lm_head: "
        "it is not a language model",
    ),
    "GGUF cut short": Refused(
        GITHUB + "ggml-org/llama.cpp",
        after(as_gguf, cut("model.gguf", 400_000)),
        "model.gguf is broken or cut short (",
    ),
    "GGUF with counts that lie": Refused(
        GITHUB + "ggml-org/llama.cpp/security",
        after(as_gguf, gguf_bytes(8, struct.pack("<Q", 1 << 60))),
        "model.gguf is broken or cut short (it claims to hold more than its size allows)",
    ),
    "GGUF of another version": Refused(
        GITHUB + "ggml-org/ggml/blob/master/docs/gguf.md",
        after(as_gguf, gguf_bytes(4, struct.pack("<I", 1))),
        "model.gguf is broken or cut short (its version is 1; 2 and 3 are read)",
    ),
    "llm.c's file cut short": Refused(
        GITHUB + "karpathy/llm.c",
        after(as_llm_c, cut("model.bin", 900_000)),
        "model.bin is broken or cut short: it has 900,000 bytes, its header asks for 1,689,856",
    ),
    "Flax's file cut short": Refused(
        HUB + "docs/transformers/model_doc/gpt2",
        after(made("flax"), cut("flax_model.msgpack", 20_000)),
        "flax_model.msgpack is broken or cut short",
    ),
    "tf_model.h5 cut short": Refused(
        HUB + "docs/transformers/model_doc/gpt2",
        after(made("keras"), cut("tf_model.h5", 20_000)),
        "tf_model.h5 is broken or cut short",
    ),
    "TensorFlow's data cut short": Refused(
        GITHUB + "minimaxir/gpt-2-simple",
        after(made("tensorflow"), cut("model-1000.data-00000-of-00001", 20_000)),
        "model-1000.data-00000-of-00001 is cut short",
    ),
    "TensorFlow's index cut short": Refused(
        GITHUB + "minimaxir/gpt-2-simple",
        after(made("tensorflow"), cut("model-1000.index", 500)),
        "model-1000.index is broken or cut short",
    ),
    "TensorFlow without hparams.json": Refused(
        GITHUB + "minimaxir/gpt-2-simple",
        after(made("tensorflow"), lambda directory: (directory / "hparams.json").unlink()),
        "no hparams.json beside model-1000.index: copy it from the GPT-2 that it was trained from",
    ),
    "an adapter that is no LoRA": Refused(
        GITHUB + "huggingface/peft",
        adapter(BASE | {"peft_type": "PREFIX_TUNING"}),
        "the adapter is PREFIX_TUNING, not LORA; merge it with PEFT: "
        "model.merge_and_unload().save_pretrained(DIR)",
    ),
    "an adapter that names no base": Refused(
        GITHUB + "huggingface/peft/issues/309",
        adapter({}),
        "adapter_config.json names no base model: give it with --base",
    ),
    "several GGUFs in a directory": Refused(
        GITHUB + "ggml-org/llama.cpp/issues/5032",
        two_ggufs,
        "several weights are there (f16.gguf, q8_0.gguf): name the file with --model",
    ),
    "the directory around checkpoint-500": Refused(
        HUB + "docs/transformers/main_classes/trainer",
        run_of_trainer,
        "no weights in the directory itself: name one of its checkpoints with --model, such as "
        "model/checkpoint-500",
    ),
    "no tokenizer": Refused(
        GITHUB + "karpathy/nanoGPT/issues/241",
        without("tokenizer.json"),
        "no tokenizer in the checkpoint: tokenizer.json, or vocab.json and merges.txt, or "
        "nanoGPT's meta.pkl, is needed; give the one that it was trained with: --tokenizer gpt2, "
        "DIR or HUB_ID",
    ),
}

"""Formats that are not supported, each with a way out, and checkpoints in subdirectories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from archive.errors import CheckpointError

EXPORTED = "an export for another program: take the checkpoint that it was made from"
SHARDED = "in parts of a training run"
KERAS = (
    "Keras' own: load it, and save it with transformers 4, "
    "TFGPT2LMHeadModel.save_pretrained(DIR), which writes tf_model.h5"
)
ORBAX = (
    "Orbax's, of JAX: load it, and save it with transformers 4, "
    "FlaxGPT2LMHeadModel.save_pretrained(DIR), which writes flax_model.msgpack"
)
# By the pattern of a name: what it is, and what to do.
KNOWN: tuple[tuple[str, str], ...] = (
    ("*.onnx", f"ONNX, {EXPORTED}"),
    ("*.onnx_data", f"ONNX, {EXPORTED}"),
    ("*.onnx.data", f"ONNX, {EXPORTED}"),
    ("onnx", f"ONNX, {EXPORTED}"),
    ("*.mlpackage", f"Core ML, {EXPORTED}"),
    ("*.mlmodelc", f"Core ML, {EXPORTED}"),
    ("*.mlmodel", f"Core ML, {EXPORTED}"),
    ("*.tflite", f"TensorFlow Lite, {EXPORTED}"),
    ("saved_model.pb", f"TensorFlow's SavedModel, {EXPORTED}"),
    ("*.engine", f"TensorRT's, {EXPORTED}"),
    ("*.plan", f"TensorRT's, {EXPORTED}"),
    ("rank*.safetensors", f"TensorRT-LLM's, {EXPORTED}"),
    ("openvino_model.*", f"OpenVINO, {EXPORTED}"),
    ("rust_model.ot", f"rust-bert's, {EXPORTED}"),
    ("*.ot", f"rust-bert's, {EXPORTED}"),
    ("*.ggml", "GGML from before GGUF: convert the checkpoint again, with llama.cpp's converter"),
    (
        "*.nemo",
        "NeMo's: convert it with NeMo's scripts/checkpoint_converters, to Hugging Face's format",
    ),
    (
        "model_optim_rng.pt",
        "Megatron's: convert it with transformers' convert_megatron_gpt2_checkpoint.py",
    ),
    (
        "mp_rank_*",
        "Megatron's or DeepSpeed's: convert it with transformers' "
        "convert_megatron_gpt2_checkpoint.py, or with zero_to_fp32.py beside it",
    ),
    (
        "zero_to_fp32.py",
        f"DeepSpeed's, {SHARDED}: run python zero_to_fp32.py . merged in its directory, and name "
        "what comes",
    ),
    ("*zero_pp_rank_*", f"DeepSpeed's, {SHARDED}: run python zero_to_fp32.py . merged beside it"),
    (
        "pytorch_model_fsdp_*",
        f"FSDP's, {SHARDED}: run accelerate merge-weights {{name}} merged, and name what comes",
    ),
    (
        "*.distcp",
        f"PyTorch's distributed checkpoint, {SHARDED}: run python -m "
        "torch.distributed.checkpoint.format_utils dcp_to_torch DIR model.pt",
    ),
    (
        "consolidated.*",
        "Meta's or Mistral's format, which GPT-2 does not have: name the checkpoint in "
        "Hugging Face's format",
    ),
    ("*.keras", KERAS),
    ("*.weights.h5", KERAS),
    ("manifest.ocdbt", ORBAX),
    ("_METADATA", ORBAX),
    ("_CHECKPOINT_METADATA", ORBAX),
    ("lit_model.pth", "LitGPT's: run litgpt convert_from_litgpt, and name what comes"),
    (
        "adapters.safetensors",
        "MLX's adapter: fuse it, with python -m mlx_lm fuse --model BASE --adapter-path DIR",
    ),
    ("*.npz", "NumPy's arrays, which say no names that are known: save it as safetensors"),
    *(
        (f"*.{ending}", "packed together: unpack it, and name the directory that comes")
        for ending in ("zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2", "7z", "rar", "gz", "zst")
    ),
)
# Of a checkpoint, but not its weights.
BESIDE = (
    *("config.json", "generation_config.json", "adapter_config.json", "tokenizer*", "vocab.*"),
    *("merges.txt", "special_tokens_map.json", "added_tokens.json", "hparams.json", "README.md"),
)
PART = re.compile(r".+-\d+-of-0*([2-9]|[1-9]\d+)\.\w+")
CHECKPOINT = re.compile(r"(checkpoint|ckpt|step|epoch|iter)[-_]?(\d+)")
# Any of these in a directory: it is a checkpoint.
SIGNS = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
    *("pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack", "ckpt.pt"),
    *("adapter_model.safetensors", "adapter_model.bin", "hparams.json"),
)


CACHED = "models--"


def refuse_several(found: list[Path]) -> NoReturn:
    """Raise CheckpointError for a directory with several files of weights and no index."""
    for path in found:
        if not PART.fullmatch(path.name):
            refuse_known(path)
    names = ", ".join(path.name for path in found[:4])
    if all(PART.fullmatch(path.name) for path in found):
        raise CheckpointError(
            f"the weights are in parts ({names}), and their index is not there: copy the file that "
            f"ends with {found[0].suffix}.index.json, too"
        )
    raise CheckpointError(f"several weights are there ({names}): name the file with --model")


def refuse_beside(path: Path) -> None:
    """Raise CheckpointError for a file of a checkpoint that is not its weights."""
    if any(path.match(pattern) for pattern in BESIDE):
        raise CheckpointError(f"{path.name} is not the weights: name its directory")


def refuse_known(path: Path) -> None:
    """Raise CheckpointError if a file or directory has the name of a format that is not read."""
    if PART.fullmatch(path.name):
        raise CheckpointError(
            f"{path.name} is one part of several: name the directory, or the index of the parts"
        )
    for pattern, what in KNOWN:
        if path.match(pattern):
            raise CheckpointError(f"{path.name} is {what.format(name=path.name)}")


def nested_checkpoints(directory: Path) -> list[str]:
    """Return the names of directories in this one that are checkpoints, the newest last."""
    found = [
        path.name
        for path in directory.iterdir()
        if path.is_dir()
        and (CHECKPOINT.fullmatch(path.name) or any((path / sign).is_file() for sign in SIGNS))
    ]
    return sorted(found, key=_age)


def _age(name: str) -> tuple[int, str]:
    """Steps are counted: checkpoint-500 is older than checkpoint-1000."""
    match = CHECKPOINT.fullmatch(name)
    return (int(match[2]) if match else -1, name)


def cached_name(path: Path) -> str | None:
    """Return the id on the hub of what a directory of its cache holds, or None if it is not of it.

    >>> cached_name(Path("hub/models--openai-community--gpt2/snapshots/607a30d"))
    'openai-community/gpt2'
    """
    root = path.parent.parent if path.parent.name == "snapshots" else path
    if not root.name.startswith(CACHED):
        return None
    return root.name.removeprefix(CACHED).replace("--", "/", 1)


def unpacked_cache(path: Path) -> Path:
    """Return the snapshot in a directory of the hub's cache (models--ORG--NAME), or `path`.

    Raises CheckpointError if there are several, of which none is main.
    """
    snapshots = path / "snapshots"
    if not path.is_dir() or not snapshots.is_dir() or not (path / "blobs").is_dir():
        return path
    main = path / "refs" / "main"
    if main.is_file():
        named = snapshots / main.read_text(encoding="utf-8", errors="replace").strip()
        if named.parent == snapshots and named.is_dir():
            return named
    found = sorted(each.name for each in snapshots.iterdir() if each.is_dir())
    if len(found) == 1:
        return snapshots / found[0]
    raise CheckpointError(
        f"{path.name} is of the hub's cache, with {len(found)} snapshots: name one of them, "
        f"{path.name}/snapshots/{found[0] if found else 'REVISION'}"
    )

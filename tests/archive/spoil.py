"""Ways to spoil a good checkpoint: each changes a directory with a model.safetensors."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from tests.archive.adapters import LORA, lora_factors
from tests.archive.programs import gguf_file, llm_c, mini_of_2020
from tests.archive.tiny import full, tensors
from tests.archive.writers import shards

MADE = Path(__file__).parent / "made"
Spoil = Callable[[Path], None]


class RunsCode:
    """A pickle that leaves the file `place` behind, if ever it is run."""

    place: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.place}",)


def arrays(directory: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    return found


def cut(name: str, count: int) -> Spoil:
    def spoil(directory: Path) -> None:
        path = directory / name
        path.write_bytes(path.read_bytes()[:count])

    return spoil


def after(first: Callable[[Path], None], *others: Spoil) -> Spoil:
    def spoil(directory: Path) -> None:
        for each in (first, *others):
            each(directory)

    return spoil


def pickled(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    def spoil(directory: Path) -> None:
        state = change(dict(tensors(full(arrays(directory)))))
        torch.save(state, directory / "pytorch_model.bin")

    return spoil


def plain_pickle(directory: Path) -> None:
    arrays(directory)
    (directory / "pytorch_model.bin").write_bytes(pickle.dumps(RunsCode()))


def zip_bomb(directory: Path) -> None:
    pickled(lambda state: state)(directory)
    path = directory / "pytorch_model.bin"
    with zipfile.ZipFile(path) as whole:
        parts = {info.filename: whole.read(info) for info in whole.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in parts.items():
            bomb.writestr(name, bytes(50_000_000) if "/data/" in name else content)
            if "/data/" in name:
                break


def expanded(state: dict[str, Any]) -> dict[str, Any]:
    """One number that a stride of nothing makes a terabyte."""
    return state | {"transformer.wte.weight": torch.zeros(1, 1).expand(10**6, 10**6)}


def header(change: Callable[[dict[str, Any]], None]) -> Spoil:
    """Another header of model.safetensors."""

    def spoil(directory: Path) -> None:
        path = directory / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        entries = json.loads(data[8 : 8 + length])
        change(entries)
        text = json.dumps(entries).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return spoil


def beyond(entries: dict[str, Any]) -> None:
    entries["wte.weight"] = {"dtype": "F32", "shape": [7552, 48], "data_offsets": [1 << 40, 0]}
    entries["wte.weight"]["data_offsets"][1] = (1 << 40) + 7552 * 48 * 4


def larger(entries: dict[str, Any]) -> None:
    entries["wte.weight"]["shape"] = [1 << 40, 48]


def pointer(name: str) -> Spoil:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 548105171\n"
    return lambda directory: (directory / name).write_text(text) and None


def with_arrays(change: Callable[[dict[str, np.ndarray]], dict[str, Any]]) -> Spoil:
    def spoil(directory: Path) -> None:
        save_file(change(arrays(directory)), directory / "model.safetensors")

    return spoil


def as_gguf(directory: Path) -> None:
    gguf_file("F32")(directory, arrays(directory))


def gguf_bytes(at: int, content: bytes) -> Spoil:
    def spoil(directory: Path) -> None:
        path = directory / "model.gguf"
        data = bytearray(path.read_bytes())
        data[at : at + len(content)] = content
        path.write_bytes(data)

    return spoil


def as_llm_c(directory: Path) -> None:
    llm_c(3, torch.float32)(directory, arrays(directory))


def made(name: str) -> Spoil:
    def spoil(directory: Path) -> None:
        arrays(directory)
        shutil.copytree(MADE / name, directory, dirs_exist_ok=True)

    return spoil


def adapter(config: dict[str, Any], extra: dict[str, np.ndarray] | None = None) -> Spoil:
    def spoil(directory: Path) -> None:
        base = directory / "base"
        base.mkdir()
        save_file(full(arrays(directory)), base / "model.safetensors")
        shutil.copy(directory / "config.json", base)
        save_file(lora_factors() | (extra or {}), directory / "adapter_model.safetensors")
        (directory / "adapter_config.json").write_text(json.dumps(LORA | config))

    return spoil


def config(**changes: Any) -> Spoil:
    def spoil(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def run_of_trainer(directory: Path) -> None:
    arrays(directory)
    (directory / "checkpoint-500").mkdir()


def instead(name: str) -> Spoil:
    """Another file in the place of the weights."""

    def spoil(directory: Path) -> None:
        arrays(directory)
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"not looked at")

    return spoil


def holding(name: str, content: bytes) -> Spoil:
    """A file that is not what its name says, in the place of the weights."""

    def spoil(directory: Path) -> None:
        arrays(directory)
        (directory / name).write_bytes(content)

    return spoil


def dangling(directory: Path) -> None:
    arrays(directory)
    (directory / "model.safetensors").symlink_to("../blobs/abc")


def ctranslate2(directory: Path) -> None:
    name = b"TransformerDecoderSpec\0"
    head = struct.pack("<IH", 6, len(name)) + name + struct.pack("<II", 2, 50)
    holding("model.bin", head + bytes(400))(directory)
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (directory / "config.json").write_text(json.dumps(config))


def other_gguf(directory: Path) -> None:
    words = arrays(directory)["wte.weight"]
    writer = gguf.GGUFWriter(directory / "model.gguf", "llama")
    writer.add_tensor("token_embd.weight", words)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def parts_alone(directory: Path) -> None:
    found = arrays(directory)
    names = list(found)
    for number in (1, 2):
        part = {name: found[name] for name in names[number - 1 :: 2]}
        save_file(part, directory / f"model-{number:05d}-of-00002.safetensors")


def mlx_units(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    name = "h.0.attn.c_attn"
    shapes = {"scales": np.ones((48, 3), np.float16), "biases": np.ones((48, 3), np.float16)}
    return found | {f"{name}.{part}": values for part, values in shapes.items()}


def less_packed(entries: dict[str, Any]) -> None:
    entry = entries["transformer.h.0.attn.c_attn.weight"]
    entry["shape"][0] -= 1
    entry["data_offsets"][1] -= 1


def plain_factors() -> dict[str, np.ndarray]:
    return {name.removeprefix("base_model.model."): each for name, each in lora_factors().items()}


def torch_script(directory: Path) -> None:
    arrays(directory)
    with zipfile.ZipFile(directory / "model.pt", "w") as program:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            program.writestr(f"model/{name}", b"")


def old_mini(directory: Path) -> None:
    mini_of_2020(directory, arrays(directory))
    (directory / "config.json").unlink()


def one_deeper(directory: Path) -> None:
    (directory / "gpt2").mkdir()
    (directory / "model.safetensors").rename(directory / "gpt2" / "model.safetensors")


def two_ggufs(directory: Path) -> None:
    arrays(directory)
    for name in ("f16.gguf", "q8_0.gguf"):
        (directory / name).write_bytes(b"GGUF")


def cut_otherwise(directory: Path) -> None:
    """A GGUF whose tokenizer cuts texts as another model's does."""
    gguf_file("F32", pre="llama-bpe")(directory, arrays(directory))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).unlink()


def twice(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [(f"{model}.{name}", name) for model in ("policy", "reference") for name in found]
    return {given: found[name].copy() for given, name in names}


def not_finite(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found["h.1.mlp.c_fc.weight"][3, 3] = np.nan
    return found


def shard_away(directory: Path) -> None:
    save = lambda parts, path: torch.save(tensors(parts), path)  # noqa: E731
    shards(save, "pytorch_model", "bin")(directory, arrays(directory))
    (directory / "pytorch_model-00002-of-00002.bin").unlink()


def without(name: str) -> Spoil:
    return lambda directory: (directory / name).unlink()

"""Writes the tiny model as safetensors and pickles, as libraries do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from tests.archive.tiny import Arrays, Json, Write, full, tensors


def named(change: Callable[[str], str]) -> Write:
    def write(directory: Path, weights: Arrays) -> None:
        save_file({change(name): weight for name, weight in full(weights).items()},
                  directory / "model.safetensors")  # fmt: skip

    return write


def safetensors(change: Callable[[Arrays], Arrays]) -> Write:
    return lambda directory, weights: save_file(change(weights), directory / "model.safetensors")


def halves(dtype: torch.dtype) -> Write:
    return lambda directory, weights: save_torch_file(
        tensors(full(weights), dtype), directory / "model.safetensors"
    )


def shards(save: Callable[[Any, Path], Any], name: str, ending: str) -> Write:
    def write(directory: Path, weights: Arrays) -> None:
        names = list(full(weights))
        halves = [names[::2], names[1::2]]
        where = {}
        for number, part in enumerate(halves, 1):
            file = f"{name}-{number:05d}-of-00002.{ending}"
            save({key: full(weights)[key] for key in part}, directory / file)
            where |= dict.fromkeys(part, file)
        index = {"metadata": {}, "weight_map": where}
        (directory / f"{name}.{ending}.index.json").write_text(json.dumps(index))

    return write


def variant_shards(directory: Path, weights: Arrays) -> None:
    shards(save_file, "model.fp16", "safetensors")(directory, weights)
    written = directory / "model.fp16.safetensors.index.json"
    written.rename(directory / "model.safetensors.index.fp16.json")


def pickled(
    name: str, content: Callable[[Arrays], Any], beside: tuple[str, ...] = (), zipped: bool = True
) -> Write:
    def write(directory: Path, weights: Arrays) -> None:
        path = directory / name
        torch.save(content(weights), path, _use_new_zipfile_serialization=zipped)
        for other in beside:  # of a trainer: not opened at all
            (directory / other).write_bytes(b"not looked at")

    return write


def hub_cache(directory: Path, weights: Arrays) -> None:
    """models--ORG--NAME of the hub's cache: blobs, and links to them."""
    snapshot = directory / "models--me--tales" / "snapshots" / "607a30d"
    snapshot.mkdir(parents=True)
    for name in ("blobs", "refs"):
        (snapshot.parents[1] / name).mkdir()
    save_file(full(weights), snapshot.parents[1] / "blobs" / "abc")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (snapshot / name).write_bytes((directory / name).read_bytes())
    (snapshot.parents[1] / "refs" / "main").write_text("607a30d")


def with_mark(directory: Path, weights: Arrays) -> None:
    """As an editor on Windows saves it."""
    path = directory / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    save_file(full(weights), directory / "model.safetensors")


def dialo(weights: Arrays) -> Json:
    """DialoGPT's medium_ft.pkl: names of pytorch-pretrained-bert, halves."""
    state = full(weights) | {"lm_head.decoder.weight": weights["wte.weight"]}
    return tensors(state, torch.float16)

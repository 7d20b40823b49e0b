"""Writes adapters of PEFT for the tiny model, and says what they add to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.archive.tiny import Arrays, Write, full

LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 32, "fan_in_fan_out": True, "bias": "none"}


def lora_factors() -> Arrays:
    """Two factors for each layer's c_attn and square c_proj, named as PEFT names them."""
    generator = np.random.default_rng(5)
    found: Arrays = {}
    for layer in range(2):
        for module, width in (("c_attn", 144), ("c_proj", 48)):
            name = f"base_model.model.transformer.h.{layer}.attn.{module}"
            for side, shape in (("A", (4, 48)), ("B", (width, 4))):
                values = generator.standard_normal(shape, np.float32) * np.float32(0.1)
                found[f"{name}.lora_{side}.weight"] = values
    return found


def lora(factors: Callable[[], Arrays]) -> Write:
    """An adapter beside the directory of its base, which it names by a relative path."""

    def write(directory: Path, weights: Arrays) -> None:
        save_file(full(weights), directory / "model.safetensors")
        adapter = directory / "adapter"
        adapter.mkdir()
        save_file(factors(), adapter / "adapter_model.safetensors")
        says = {"base_model_name_or_path": "..", "target_modules": ["c_attn", "c_proj"]}
        (adapter / "adapter_config.json").write_text(json.dumps(LORA | says))

    return write


def with_lora(weights: Arrays) -> Arrays:
    factors, merged = lora_factors(), dict(weights)
    for layer in range(2):
        for module in ("c_attn", "c_proj"):
            name = f"base_model.model.transformer.h.{layer}.attn.{module}.lora_"
            product = factors[f"{name}B.weight"] @ factors[f"{name}A.weight"]
            key = f"h.{layer}.attn.{module}.weight"
            merged[key] = merged[key] + product.T * np.float32(32 / 4)
    return merged


def dora_factors() -> Arrays:
    lengths = np.random.default_rng(6)
    return lora_factors() | {
        name.replace("lora_A.weight", "lora_magnitude_vector"): lengths.uniform(
            0.5, 2, 48 if "c_proj" in name else 144
        ).astype(np.float32)
        for name in lora_factors()
        if "lora_A" in name
    }


def among_weights(directory: Path, weights: Arrays) -> None:
    """A checkpoint of a trainer in which PEFT's modules were not taken out."""
    named = {f"base_model.model.{name}": weight for name, weight in full(weights).items()}
    marks = {"c_attn.": "c_attn.base_layer.", "attn.c_proj.": "attn.c_proj.base_layer."}
    for plain, wrapped in marks.items():
        named = {name.replace(plain, wrapped): weight for name, weight in named.items()}
    factors = {
        name.replace("_A.", "_A.default.").replace("_B.", "_B.default."): each
        for name, each in lora_factors().items()
    }
    save_file(named | factors, directory / "model.safetensors")
    (directory / "adapter_config.json").write_text(
        json.dumps(LORA | {"base_model_name_or_path": "."})
    )


def with_dora(weights: Arrays) -> Arrays:
    merged = with_lora(weights)
    for name, lengths in dora_factors().items():
        if name.endswith("lora_magnitude_vector"):
            key = name.removeprefix("base_model.model.transformer.")
            key = key.replace("lora_magnitude_vector", "weight")
            merged[key] = merged[key] * (lengths / np.linalg.norm(merged[key], axis=0))
    return merged

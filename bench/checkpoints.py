"""The models that are measured: GPT-2 small's shape with random weights, and the embedded one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "bench"
END_OF_TEXT = "<|endoftext|>"

GPT2_SMALL = {"layers": 12, "heads": 12, "width": 768, "positions": 1024, "vocabulary": 50257}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory and the figures the bench needs of it."""

    name: str
    path: Path
    context: int
    vocabulary: int
    product_parameters: int
    head_parameters: int

    @classmethod
    def of(cls, name: str, path: Path) -> Checkpoint:
        """Read the sizes from config.json. Product parameters: all linear layers, and the head."""
        config = json.loads((path / "config.json").read_text())
        width, vocabulary = config["n_embd"], config["vocab_size"]
        inner = config.get("n_inner") or 4 * width
        layer = 4 * width * width + 2 * width * inner
        products = config["n_layer"] * layer + width * vocabulary
        head = width * vocabulary
        return cls(name, path, config["n_positions"], vocabulary, products, head)


def embedded() -> Checkpoint:
    """Return the model that comes with the repository."""
    return Checkpoint.of("gpt2-tales", ROOT / "models" / "gpt2-tales")


def random_gpt2() -> Checkpoint:
    """GPT-2 small's real shape; made once. Speed does not depend on the values of weights."""
    path = CACHE / "gpt2-random"
    if not (path / "config.json").exists():
        path.mkdir(parents=True, exist_ok=True)
        save_file(_weights(**GPT2_SMALL), path / "model.safetensors", {"format": "pt"})
        (path / "tokenizer.json").write_text(json.dumps(_tokenizer(GPT2_SMALL["vocabulary"])))
        (path / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024})
        )
        (path / "config.json").write_text(json.dumps(_config(**GPT2_SMALL), indent=2))
    return Checkpoint.of("gpt2 (random weights)", path)


def _config(
    layers: int, heads: int, width: int, positions: int, vocabulary: int
) -> dict[str, object]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_layer": layers,
        "n_head": heads,
        "n_embd": width,
        "n_positions": positions,
        "vocab_size": vocabulary,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "bos_token_id": vocabulary - 1,
        "eos_token_id": vocabulary - 1,
        "tie_word_embeddings": True,
    }


def _weights(
    layers: int, heads: int, width: int, positions: int, vocabulary: int
) -> dict[str, np.ndarray]:
    """Draw as GPT-2 is initialised (Radford et al. 2019): normal, 0.02; gains 1, biases 0."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32) * np.float32(0.02)

    tensors = {"wte.weight": normal(vocabulary, width), "wpe.weight": normal(positions, width)}
    products = {
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, 4 * width),
        "mlp.c_proj": (4 * width, width),
    }
    for layer in range(layers):
        for name, shape in products.items():
            tensors[f"h.{layer}.{name}.weight"] = normal(*shape)
            tensors[f"h.{layer}.{name}.bias"] = np.zeros(shape[1], np.float32)
    norms = ["ln_f", *(f"h.{i}.{name}" for i in range(layers) for name in ("ln_1", "ln_2"))]
    for name in norms:
        tensors[f"{name}.weight"] = np.ones(width, np.float32)
        tensors[f"{name}.bias"] = np.zeros(width, np.float32)
    return tensors


def _tokenizer(vocabulary: int) -> dict[str, object]:
    """Build a byte-level BPE of the wanted size: bytes, then pairs, then triples of letters.

    It stands in for GPT-2's own, which no package carries; what matters here is its size.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(68)]
    letters = [chr(byte) for byte in range(33, 127)]
    wanted = vocabulary - 1 - len(symbols)
    pairs = [(a, b) for a, b in product(letters, letters)]
    triples = ((a + b, c) for (a, b), c in product(pairs, letters))
    merges = pairs + [next(triples) for _ in range(wanted - len(pairs))]
    names = symbols + [a + b for a, b in merges] + [END_OF_TEXT]
    end = {
        "id": vocabulary - 1,
        "content": END_OF_TEXT,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end],
        "normalizer": None,
        "pre_tokenizer": {**byte_level, "use_regex": True},
        "post_processor": {**byte_level, "use_regex": True},
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {name: index for index, name in enumerate(names)},
            "merges": [f"{a} {b}" for a, b in merges],
        },
    }

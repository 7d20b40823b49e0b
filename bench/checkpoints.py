"""The models that are measured: GPT-2's shapes with random weights, and the embedded one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from handler.engine.native.array_sizes import ArrayKind
from handler.engine.native.arrays_file import write_tensors

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "bench"
END_OF_TEXT = "<|endoftext|>"

# Layers, heads and width of OpenAI's four and of distilgpt2; each has GPT-2's vocabulary.
SIZES = {
    "distilgpt2": (6, 12, 768),
    "gpt2": (12, 12, 768),
    "gpt2-medium": (24, 16, 1024),
    "gpt2-large": (36, 20, 1280),
    "gpt2-xl": (48, 25, 1600),
}
POSITIONS, VOCABULARY = 1024, 50257


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


def random_gpt2(size: str = "gpt2") -> Checkpoint:
    """One of SIZES in its real shape; made once. Speed does not depend on the values of weights."""
    path = CACHE / f"{size}-random"
    if not (path / "config.json").exists():
        path.mkdir(parents=True, exist_ok=True)
        layers, heads, width = SIZES[size]
        kinds = _kinds(layers, width)
        write_tensors(path / "model.safetensors", kinds, _weights(kinds), {"format": "pt"})
        (path / "tokenizer.json").write_text(json.dumps(_tokenizer(VOCABULARY)))
        (path / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "GPT2Tokenizer", "model_max_length": POSITIONS})
        )
        (path / "config.json").write_text(json.dumps(_config(layers, heads, width), indent=2))
    return Checkpoint.of(f"{size} (random weights)", path)


def _config(layers: int, heads: int, width: int) -> dict[str, object]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_layer": layers,
        "n_head": heads,
        "n_embd": width,
        "n_positions": POSITIONS,
        "vocab_size": VOCABULARY,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "bos_token_id": VOCABULARY - 1,
        "eos_token_id": VOCABULARY - 1,
        "tie_word_embeddings": True,
    }


def _kinds(layers: int, width: int) -> dict[str, ArrayKind]:
    """Every weight's shape, in the order in which they are written."""
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (VOCABULARY, width),
        "wpe.weight": (POSITIONS, width),
    }
    products = {
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, 4 * width),
        "mlp.c_proj": (4 * width, width),
    }
    for layer in range(layers):
        for name, shape in products.items():
            shapes[f"h.{layer}.{name}.weight"] = shape
            shapes[f"h.{layer}.{name}.bias"] = shape[1:]
    for name in ("ln_f", *(f"h.{i}.{name}" for i in range(layers) for name in ("ln_1", "ln_2"))):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return {name: ArrayKind("float32", shape) for name, shape in shapes.items()}


def _weights(kinds: dict[str, ArrayKind]) -> Iterator[tuple[str, np.ndarray]]:
    """Draw as GPT-2 is initialised (Radford et al. 2019): normal, 0.02; gains 1, biases 0."""
    generator = np.random.default_rng(0)
    for name, kind in kinds.items():
        if len(kind.shape) == 2:
            yield name, generator.standard_normal(kind.shape, np.float32) * np.float32(0.02)
        else:
            yield name, np.full(kind.shape, float(name.endswith(".weight")), np.float32)


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

"""GPT-2 as the hub has it: its real tokenizer, old names, masks among the weights, no head."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import torch
from safetensors.numpy import save_file
from transformers import GPT2LMHeadModel

from archive.checkpoint import Checkpoint, load_checkpoint, read_shape
from tests.archive.checkpoints import ROOT, TINY, random_weights
from tests.handler.engines import Rig, packed, vocabulary

WHISPER = "openai-whisper==20250625"  # its source archive carries GPT-2's ranks
CACHE = ROOT / ".cache" / "tests"
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
NASTY = (
    "It's   naïve — ‘quotes’ & co.\r\n\r\n\tdef f(x):\n        return x**2  # 100%\n"
    "東京 🙂👩‍👩‍👧 Ωmega  e\u0301 \u200b\u00a0 12345678 don't WON'T i'll <|endoftext|x>"
    "   \n\n\n end   "
)
TEXTS = [NASTY, "Hello, my name is", "", " ", "a\n", "\x00\x7f", NASTY * 20]

Ranks = dict[bytes, int]


@pytest.fixture(scope="module")
def ranks() -> Ranks:
    """Rank of each of GPT-2's 50256 tokens; a token's rank is its id."""
    path = CACHE / "gpt2.tiktoken"
    if not path.is_file():
        _fetch_ranks(path)
    pairs = (line.split() for line in path.read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def _fetch_ranks(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--dest", str(path.parent), WHISPER]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("the package registry is out of reach: GPT-2's tokenizer cannot be fetched")
    (source,) = path.parent.glob("openai_whisper-*.tar.gz")
    with tarfile.open(source) as archive:
        (member,) = (item for item in archive if item.name.endswith("assets/gpt2.tiktoken"))
        content = archive.extractfile(member)
        assert content is not None
        path.write_bytes(content.read())
    source.unlink()


def letters_of_bytes() -> dict[int, str]:
    """GPT-2's way of writing any byte as a visible character."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(256 + index) for index, byte in enumerate(hidden)
    }


def halves(token: bytes, ranks: Ranks) -> tuple[bytes, bytes]:
    """The two tokens that were merged into this one: merge all that ranks below it."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        merged = [ranks.get(a + b, 1 << 30) for a, b in zip(parts, parts[1:], strict=False)]
        index = min(range(len(merged)), key=merged.__getitem__)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


@pytest.fixture(scope="module")
def checkpoint(ranks: Ranks, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    directory = tmp_path_factory.mktemp("hub") / "gpt2"
    directory.mkdir()
    letters = letters_of_bytes()

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    vocabulary = {written(token): rank for token, rank in ranks.items()}
    vocabulary["<|endoftext|>"] = len(ranks)
    ordered = sorted((rank, token) for token, rank in ranks.items() if len(token) > 1)
    merges = [" ".join(map(written, halves(token, ranks))) for _, token in ordered]
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    # As the hub's gpt2: no model-wide tie flag, ends given by the last id.
    config = TINY | {"vocab_size": 50257, "bos_token_id": 50256, "eos_token_id": 50256}
    (directory / "config.json").write_text(json.dumps(config))
    weights = random_weights(read_shape(directory))
    mask = np.tril(np.ones((1, 1, 256, 256), np.float32))
    masks = {f"h.{layer}.attn.bias": mask for layer in range(2)}
    masks |= {f"h.{layer}.attn.masked_bias": np.array(-1e4, np.float32) for layer in range(2)}
    save_file(weights | masks, directory / "model.safetensors", metadata={"format": "pt"})
    return load_checkpoint(directory, "gpt2")


def test_the_hubs_layout_is_taken_as_it_is(checkpoint: Checkpoint) -> None:
    assert checkpoint.shape.vocab_size == 50257
    assert not any(name.endswith(".attn.bias") for name in checkpoint.weights)


@pytest.fixture(scope="module")
def reference(ranks: Ranks) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "gpt2",
        pat_str=GPT2_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": 50256},
    )


def test_tokens_equal_those_of_tiktoken(
    checkpoint: Checkpoint, reference: tiktoken.Encoding
) -> None:
    for text in TEXTS:
        ids = checkpoint.tokenizer.encode(text).ids
        assert ids == reference.encode_ordinary(text)
        assert checkpoint.tokenizer.decode(ids, skip_special_tokens=False) == text
    assert checkpoint.tokenizer.encode("<|endoftext|>").ids == [50256]


@pytest.fixture(scope="module")
def archive(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    return packed(store, "hub", "--precision", "fp32", model=checkpoint.directory)


def test_the_served_tokenizer_equals_tiktokens(archive: Path, reference: tiktoken.Encoding) -> None:
    served = vocabulary(archive)
    for text in TEXTS:
        ids = served.encode(text)
        assert ids == reference.encode_ordinary(text)
        assert served.decode(ids) == text
    assert served.encode("<|endoftext|>") == [50256]


def test_the_archive_writes_what_the_checkpoint_predicts(
    archive: Path, checkpoint: Checkpoint, reference: tiktoken.Encoding
) -> None:
    expected = reference.encode_ordinary(NASTY)
    judge = GPT2LMHeadModel.from_pretrained(checkpoint.directory, dtype=torch.float32).eval()
    for _ in range(5):
        logits = judge(torch.tensor([expected])).logits[0, -1]
        expected = [*expected, int(logits.argmax())]
    rig = Rig(archive)
    try:
        (text,) = rig.write(rig.sequence(NASTY, max_tokens=5))
    finally:
        rig.close()
    assert (text.tokens, text.finish_reason) == (5, "length")
    assert NASTY + text.text == reference.decode(expected)

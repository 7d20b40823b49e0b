"""GPT-2's own tokenizer, made of its list of merges, for weights that come without one."""

from __future__ import annotations

import lzma
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

MERGES = Path(__file__).resolve().parent / "gpt2_tokenizer" / "vocab.bpe.xz"
# Stands for this tokenizer where a tokenizer's directory may be named.
OWN_TOKENIZER = Path("gpt2")
END_OF_TEXT = "<|endoftext|>"
SIZE = 50257
END_ID = SIZE - 1


def gpt2_tokenizer() -> Tokenizer:
    """Return the tokenizer that all of OpenAI's GPT-2s have, of 50,257 tokens."""
    tokenizer = byte_level_bpe(*read_vocabulary())
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return tokenizer


def byte_level_bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Return a tokenizer of GPT-2's kind with other words."""
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def read_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the ids of all tokens, and the merges by rank.

    Ids are those of the bytes, in the order of `byte_letters`, then of the merges.
    """
    lines = lzma.decompress(MERGES.read_bytes()).decode("utf-8").split("\n")
    pairs = [line.split(" ") for line in lines[1:] if line]
    merges = [(left, right) for left, right in pairs]
    tokens = [*byte_letters(), *(left + right for left, right in merges), END_OF_TEXT]
    return {token: number for number, token in enumerate(tokens)}, merges


def byte_letters() -> list[str]:
    """The visible characters that GPT-2 writes for bytes, in the order of its ids 0 to 255.

    Bytes that are no visible character come last, as characters from 256 on.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [*map(chr, visible), *(chr(256 + number) for number in range(len(hidden)))]

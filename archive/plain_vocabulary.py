"""Reads vocab.json and merges.txt, GPT-2's first layout, without `transformers`.

Only where no other file of the checkpoint says more than what the special tokens are called, which
must be words of the vocabulary: else `transformers` is asked what it makes of it all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from archive.errors import CheckpointError
from archive.gpt2_own import byte_letters, byte_level_bpe
from archive.reading import read_json

HEADER = "#version"
Names = dict[str, str | None]


def read_vocabulary(directory: Path, names: Names) -> Tokenizer | None:
    """Return the tokenizer of a directory's vocab.json and merges.txt, or None if it is not plain.

    Args:
        directory: The checkpoint's.
        names: What its special tokens are called; None for those that it has not.

    Raises:
        CheckpointError: A file is broken.
    """
    vocabulary = read_json(directory / "vocab.json")
    special = {name for name in names.values() if name is not None}
    if not special | {*byte_letters()} <= vocabulary.keys() or not _are_ids(vocabulary):
        return None
    try:
        tokenizer = byte_level_bpe(vocabulary, _merges(directory / "merges.txt"))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"the tokenizer's files are broken ({error})") from None
    added = sorted(special, key=vocabulary.__getitem__)
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in added]
    )
    return tokenizer


def _are_ids(vocabulary: dict[str, Any]) -> bool:
    return all(type(token) is int and token >= 0 for token in vocabulary.values())


def _merges(path: Path) -> list[tuple[str, str]]:
    """The merges by rank; lines may end as on Windows."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path.name} is broken: it is not UTF-8") from None
    pairs = [tuple(line.rstrip("\r").split(" ")) for line in lines]
    if pairs[0][0].startswith(HEADER):
        pairs = pairs[1:]
    pairs = [pair for pair in pairs if pair != ("",)]
    odd = next((pair for pair in pairs if len(pair) != 2), None)
    if odd is not None:
        raise CheckpointError(
            f"{path.name} is broken: {' '.join(odd)[:80]!r} is not a merge of two tokens"
        )
    return [(pair[0], pair[1]) for pair in pairs]

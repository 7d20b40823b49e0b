"""Character-level tokenizers: nanoGPT's and minGPT's, read from meta.pkl.

https://github.com/karpathy/nanoGPT (data/shakespeare_char/prepare.py)
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from archive.errors import CheckpointError
from archive.formats.inert_pickle import read_inert

META = "meta.pkl"
# Stands for characters that the model has not; the others do where a text has this one itself.
UNKNOWN = ("\ufffd", *map(chr, range(0xE000, 0xE100)))
# What nanoGPT begins a text with where nothing is given.
BEGINNING = "\n"


def has_letters(directory: Path) -> bool:
    """Whether a directory has the numbers of characters."""
    return (directory / META).is_file()


def read_letters(directory: Path, vocab_size: int) -> tuple[Tokenizer, int | None]:
    """Return the tokenizer of a directory's meta.pkl, and the id of the line end, if it has that.

    A character that the model has not becomes an id beyond its vocabulary, which no prompt may
    hold: nanoGPT fails there too.

    Raises CheckpointError if the file is broken, holds code, or more than single characters.
    """
    path = directory / META
    content = read_inert(path)
    letters = content.get("stoi") if isinstance(content, dict) else None
    if not isinstance(letters, dict) or not letters:
        raise CheckpointError(
            f"{path.name} has no stoi, the numbers of characters: give the tokenizer that the "
            "model was trained with: --tokenizer gpt2, DIR or HUB_ID"
        )
    for letter, number in letters.items():
        if not isinstance(letter, str) or len(letter) != 1:
            raise CheckpointError(f"{path.name}: {letter!r} in stoi is not a single character")
        if type(number) is not int or not 0 <= number < vocab_size:
            raise CheckpointError(
                f"{path.name}: {letter!r} has number {number!r}; the model has ids from 0 to "
                f"{vocab_size - 1}"
            )
    if len(set(letters.values())) != len(letters):
        raise CheckpointError(f"{path.name}: two characters have the same number")
    return _tokenizer(letters, vocab_size), letters.get(BEGINNING)


def _tokenizer(letters: dict[str, int], vocab_size: int) -> Tokenizer:
    unknown = next(letter for letter in UNKNOWN if letter not in letters)
    vocabulary = {**letters, unknown: vocab_size}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(unknown, special=True, normalized=False)])
    return tokenizer

"""Loads a checkpoint's tokenizer and checks that it is GPT-2's kind and fits the vocabulary."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from archive.errors import CheckpointError

END_OF_TEXT = "<|endoftext|>"
# Vocabularies are padded to round numbers for speed; a larger gap means another model's tokenizer.
MAX_UNUSED_TOKENS = 1024
PROBE = "Naïve café, 東京 🙂\n\tend."


def load_tokenizer(directory: Path, vocab_size: int) -> Tokenizer:
    """Load tokenizer.json, or GPT-2's first layout: vocab.json and merges.txt.

    Raises CheckpointError if neither is there, if it is not byte-level BPE, or if its ids do not
    fit `vocab_size`.
    """
    tokenizer = _read(directory)
    if tokenizer.decode(tokenizer.encode(PROBE).ids) != PROBE:
        raise CheckpointError("the tokenizer is not byte-level BPE: text does not survive it")
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    count = max(ids) + 1
    if count > vocab_size or vocab_size - count > MAX_UNUSED_TOKENS:
        raise CheckpointError(
            f"the tokenizer does not fit the model: it has {count} tokens, "
            f"the model's vocab_size is {vocab_size}"
        )
    return tokenizer


def _read(directory: Path) -> Tokenizer:
    ready = directory / "tokenizer.json"
    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    try:
        if ready.is_file():
            return Tokenizer.from_file(str(ready))
        if vocabulary.is_file() and merges.is_file():
            return _from_vocabulary(vocabulary, merges)
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"the tokenizer's files are broken ({error})") from None
    raise CheckpointError(
        "no tokenizer in the checkpoint: tokenizer.json, or vocab.json and merges.txt, is needed"
    )


def _from_vocabulary(vocabulary: Path, merges: Path) -> Tokenizer:
    tokenizer = Tokenizer(BPE.from_file(str(vocabulary), str(merges)))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False, special=True)])
    return tokenizer

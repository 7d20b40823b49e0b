"""Byte-level BPE, as GPT-2 has it: trained on a text, or taken from a checkpoint."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from training.errors import TrainingError
from training.foreign import is_foreign, load_foreign_tokenizer

END_OF_TEXT = "<|endoftext|>"
ALL_BYTES = 256
TOKENIZER_FILE = "tokenizer.json"


def train_tokenizer(chunks: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most ``vocab_size`` tokens; ``<|endoftext|>`` is token 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chunks, trainer)
    return _wrapped(tokenizer)


def blank_tokenizer() -> PreTrainedTokenizerFast:
    """One that knows ``<|endoftext|>`` alone: enough to fill a chat template."""
    return _wrapped(Tokenizer(models.BPE()))


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(source: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint directory or of a model on the hub.

    Raises:
        TrainingError: there is none.
    """
    if is_foreign(source) and not (Path(source) / TOKENIZER_FILE).is_file():
        return load_foreign_tokenizer(source)
    missing = f"{source} has no tokenizer.json that can be read"
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise TrainingError(missing) from error
    # Without its files transformers makes an empty tokenizer; a whole one has all bytes.
    if len(tokenizer) <= ALL_BYTES:
        raise TrainingError(missing)
    return tokenizer


def encode_chunks(
    tokenizer: PreTrainedTokenizerFast, chunks: Iterable[str], start: int
) -> list[npt.NDArray[np.int32]]:
    """Token ids of each chunk, ``start`` (``<|endoftext|>``) in front of each."""
    encoded = tokenizer.backend_tokenizer.encode_batch(list(chunks), add_special_tokens=False)
    return [np.array([start, *e.ids], dtype=np.int32) for e in encoded]

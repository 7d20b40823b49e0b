"""Reference models of the held-out text: n-grams of characters and words, xz."""

import lzma
import math
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from training.corpus import Corpus
from training.ngram import KneserNey

CHARACTER_ORDER = 8
WORD_ORDER = 4
# The kinds of token GPT-2 splits text into before BPE, simplified: a word takes its space along.
_WORDS = re.compile(r" ?\w+| ?[^\w\s]+|\s")
_BOUNDARY, _UNKNOWN = 0, 1
_UNICODE = 0x110000

Ids = npt.NDArray[np.int64]


def xz_bits_per_character(corpus: Corpus) -> float:
    """Bits that xz -9 adds for the held-out text after it has packed the training text."""
    train = "\n\n".join(corpus.train).encode()
    held_out = "\n\n".join(corpus.held_out).encode()
    added = len(lzma.compress(train + held_out, preset=9)) - len(lzma.compress(train, preset=9))
    return 8 * added / corpus.held_out_characters


def character_bits_per_character(corpus: Corpus) -> float:
    """Modified Kneser-Ney over characters."""
    model = _Characters(corpus.train)
    return model.bits(corpus.held_out) / corpus.held_out_characters


def word_bits_per_character(corpus: Corpus) -> float:
    """Modified Kneser-Ney over words; unknown ones are spelled by a character model."""
    train = [_WORDS.findall(chunk) for chunk in corpus.train]
    counts = Counter(word for words in train for word in words)
    limit = 2 ** (64 // WORD_ORDER) - 2
    known = [word for word, count in counts.most_common(limit) if count > 1]
    ids = {word: number for number, word in enumerate(known, start=2)}
    model = KneserNey(_stream(train, ids), WORD_ORDER, len(ids) + 2)
    held_out = [_WORDS.findall(chunk) for chunk in corpus.held_out]
    bits = _bits(model, _stream(held_out, ids))
    unknown = [word for words in held_out for word in words if word not in ids]
    # Words seen once are the best likeness of words never seen.
    spelling = _Characters([word for word in counts if counts[word] == 1] or list(counts))
    return (bits + spelling.bits(unknown, ends=True)) / corpus.held_out_characters


class _Characters:
    """A character model; characters too rare for an id cost as much as any code point."""

    def __init__(self, documents: Iterable[str]) -> None:
        documents = list(documents)
        limit = 2 ** (64 // CHARACTER_ORDER) - 2
        counts = Counter(character for text in documents for character in text)
        common = [character for character, _ in counts.most_common(limit)]
        self._ids = {character: number for number, character in enumerate(common, start=2)}
        self._model = KneserNey(_stream(documents, self._ids), CHARACTER_ORDER, len(common) + 2)

    def bits(self, documents: Iterable[str], ends: bool = False) -> float:
        """Bits for all documents; with ``ends``, for where each of them stops as well."""
        stream = _stream(documents, self._ids)
        unknown = int((stream == _UNKNOWN).sum())
        return _bits(self._model, stream, ends) + unknown * math.log2(_UNICODE)


def _stream(documents: Iterable[Iterable[str]], ids: dict[str, int]) -> Ids:
    """Ids of all parts of all documents, a boundary before each and after the last."""
    stream = [_BOUNDARY]
    for text in documents:
        stream.extend(ids.get(part, _UNKNOWN) for part in text)
        stream.append(_BOUNDARY)
    return np.array(stream, dtype=np.int64)


def _bits(model: KneserNey, stream: Ids, ends: bool = False) -> float:
    counted = slice(1, None) if ends else stream != _BOUNDARY
    return float(-np.log2(model.probabilities(stream)[counted]).sum())

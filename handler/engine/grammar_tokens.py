"""A vocabulary as llguidance reads it: what each token writes, and which are no text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # pragma: no cover
    from handler.engine.vocabulary import Vocabulary

# uint32 [(vocab + 31) // 32]: a bit for each token, the lowest of a word first.
Mask = npt.NDArray[np.uint32]


class GrammarTokens:
    """The vocabulary as llguidance reads it: what each token writes, and which are no text."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary, end_tokens: frozenset[int], size: int) -> None:
        self._vocabulary = vocabulary
        self.tokens, no_text = vocabulary.grammar_bytes()
        # The end that llguidance knows is none of the model's: those may come where it may.
        self.eos_token_id = len(self.tokens)
        self.tokens.append(b"<|the end|>")
        self.special_token_ids = sorted({*no_text, *end_tokens, self.eos_token_id})
        no_words = set(self.special_token_ids)
        self._ids = {raw: i for i, raw in enumerate(self.tokens) if raw and i not in no_words}
        self._longest = max(map(len, self._ids), default=0)
        words = (len(self.tokens) + 31) // 32
        self.model_words = (size + 31) // 32
        self.no_words: Mask = np.zeros(words, np.uint32)
        self.ends = _mask(end_tokens, words)
        self.openings = _mask(vocabulary.openings, words)

    def __call__(self, text: str | bytes) -> list[int]:
        """Tokens that write a text behind others: where nothing else may come, these do."""
        raw = text if isinstance(text, bytes) else text.encode()
        shown = raw.decode("utf-8", "replace")
        ids = self._vocabulary.encode(shown, add_special_tokens=False)
        if b"".join(self.tokens[token] for token in ids) == raw:
            return ids
        # It puts a blank in front of every text, or normalises them.
        return list(self._spelled(raw))

    def _spelled(self, raw: bytes) -> Iterator[int]:
        """The longest token at each place, up to a byte that there is none for."""
        place = 0
        while place < len(raw):
            lengths = range(min(self._longest, len(raw) - place), 0, -1)
            pieces = (raw[place : place + length] for length in lengths)
            token = next((self._ids[each] for each in pieces if each in self._ids), None)
            if token is None:
                return
            yield token
            place += len(self.tokens[token])


def _mask(tokens: Any, words: int) -> Mask:
    bits = np.zeros(words * 32, np.uint8)
    bits[list(tokens)] = 1
    return np.packbits(bits, bitorder="little").view(np.uint32)

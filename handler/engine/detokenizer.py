"""Token ids to text, piece by piece: bytes that are not yet a character wait for the rest.

Knows GPT-2's byte-level BPE only; nothing of models or requests.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from handler.errors import ModelError


@cache
def _byte_of_symbol() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, backwards (Radford et al. 2019, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {chr(byte): byte for byte in printable}
    return symbols | {chr(256 + i): byte for i, byte in enumerate(others)}


class Vocabulary:
    """A byte-level BPE tokenizer: text to ids, and the bytes of each id."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.vocab_size = vocab_size
        added = tokenizer.get_added_tokens_decoder()
        self.token_bytes: list[bytes] = [b""] * vocab_size
        # Special tokens have no text, but a name; ids unknown to the tokenizer have neither.
        self._names = {i: t.content for i, t in added.items() if t.special}
        for symbol, token in tokenizer.get_vocab().items():
            if token < vocab_size and token not in self._names:
                self.token_bytes[token] = self._bytes(symbol, token in added)

    @classmethod
    def load(cls, path: Path, vocab_size: int) -> Vocabulary:
        """Read `tokenizer.json`.

        Raises:
            ModelError: The file is missing, broken, or no byte-level BPE.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"tokenizer.json can not be read: {error}") from None
        return cls(tokenizer, vocab_size)

    @staticmethod
    def _bytes(symbol: str, added: bool) -> bytes:
        if added:
            return symbol.encode("utf-8")
        try:
            return bytes(_byte_of_symbol()[character] for character in symbol)
        except KeyError:
            raise ModelError("the tokenizer is no byte-level BPE, as GPT-2's is") from None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without any added at its ends."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; bytes that are no character become U+FFFD, special tokens nothing."""
        joined = b"".join(self.token_bytes[token] for token in tokens)
        return joined.decode("utf-8", errors="replace")

    def symbol(self, token: int) -> str:
        r"""A token as log probabilities show it: its text, or `bytes:\xe2\x80` if that is none.

        Special tokens show their name, ids that the tokenizer does not know their number.
        """
        raw = self.token_bytes[token]
        if not raw:
            return self._names.get(token, f"<|{token}|>")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


class Detokenizer:
    """Writes the text of one sequence as its tokens come."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._bytes = vocabulary.token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that this token completes; may be none."""
        return self._decoder.decode(self._bytes[token])

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)


class StopMatcher:
    """Holds back text that may be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be shown, and whether a stop string was met (it is not shown)."""
        if not self._stops:
            return text, False
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            return self._held[: min(found)], True
        keep = max(self._overlap(stop) for stop in self._stops)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return shown, False

    def finish(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the held text that begins `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)

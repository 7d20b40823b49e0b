"""What each token id writes, read from a tokenizer's decoder once, so that text can be streamed.

Byte-level BPE writes bytes. Every other decoder is asked twice for each token: what it writes at
the beginning of a text, and what behind another token (a space, no `##`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel

from handler.engine.errors import ModelError

BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True, slots=True)
class Pieces:
    """UTF-8 of each token id: `first` in a text, or `following` others.

    Tokens `in_runs` are bytes of which only a whole run makes text (SentencePiece's byte fallback);
    `anchor` is an ordinary token, and what it writes, behind which the tokenizer decodes such runs.
    """

    tokenizer: Tokenizer
    first: Sequence[bytes]
    following: Sequence[bytes]
    in_runs: frozenset[int] = frozenset()
    anchor: tuple[int, str] | None = None

    def run(self, tokens: Sequence[int], *, is_first: bool) -> str:
        """The text of neighbouring byte tokens."""
        if is_first or self.anchor is None:
            return str(self.tokenizer.decode(tokens, skip_special_tokens=False))
        token, text = self.anchor
        return str(self.tokenizer.decode([token, *tokens], skip_special_tokens=False))[len(text) :]


def read_pieces(tokenizer: Tokenizer, size: int) -> Pieces:
    """Read what the ids 0 .. size - 1 write; ids unknown to the tokenizer write nothing.

    Raises:
        ModelError: The decoder changes text that was written before, so it cannot be streamed.
    """
    symbols = {token: symbol for symbol, token in tokenizer.get_vocab().items() if token < size}
    if isinstance(tokenizer.decoder, ByteLevel):
        table = _table({token: _unmapped(symbol) for token, symbol in symbols.items()}, size)
        return Pieces(tokenizer, table, table)
    runs = _byte_tokens(tokenizer, symbols)
    others = [token for token in symbols if token not in runs]
    first = dict(zip(others, _decode(tokenizer, [[token] for token in others]), strict=True))
    anchor = _find_anchor(tokenizer, first)
    behind = _decode(tokenizer, [[anchor[0], token] for token in others])
    if not all(text.startswith(anchor[1]) for text in behind):
        raise ModelError("the tokenizer's decoder changes text already written: it cannot stream")
    following = {token: text[len(anchor[1]) :] for token, text in zip(others, behind, strict=True)}
    return Pieces(
        tokenizer,
        _table({token: text.encode() for token, text in first.items()} | runs, size),
        _table({token: text.encode() for token, text in following.items()} | runs, size),
        frozenset(runs),
        anchor,
    )


def _table(pieces: dict[int, bytes], size: int) -> list[bytes]:
    return [pieces.get(token, b"") for token in range(size)]


@cache
def _byte_of_symbol() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, backwards (Radford et al. 2019, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {chr(byte): byte for byte in printable}
    return symbols | {chr(256 + i): byte for i, byte in enumerate(others)}


def _unmapped(symbol: str) -> bytes:
    """The bytes of a symbol as `tokenizers` has them: a symbol with any other letter is itself."""
    try:
        return bytes(_byte_of_symbol()[character] for character in symbol)
    except KeyError:
        return symbol.encode("utf-8")


def _byte_tokens(tokenizer: Tokenizer, symbols: dict[int, str]) -> dict[int, bytes]:
    if '"ByteFallback"' not in json.dumps(json.loads(tokenizer.to_str())["decoder"]):
        return {}
    matches = {token: BYTE_TOKEN.fullmatch(symbol) for token, symbol in symbols.items()}
    return {token: bytes.fromhex(match[1]) for token, match in matches.items() if match}


def _decode(tokenizer: Tokenizer, rows: list[list[int]]) -> list[str]:
    texts: list[str] = tokenizer.decode_batch(rows, skip_special_tokens=False)
    return texts


def _find_anchor(tokenizer: Tokenizer, first: dict[int, str]) -> tuple[int, str]:
    """A token whose text stands as it is, whatever follows."""
    for token, text in first.items():
        if text.isalnum() and _decode(tokenizer, [[token, token]])[0].startswith(text):
            return token, text
    raise ModelError("the tokenizer has no token for letters")

"""The bytes of each token id, read from a tokenizer's decoder once, so that text can be streamed.

Byte-level BPE writes bytes. Every other decoder is asked three times for each token: what it writes
at the beginning of a text, what behind another token (a space, no `##`), and what it writes more
once another one follows (`</w>` is a space, but for the last word's).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel

from handler.engine.errors import ModelError
from handler.older_pythons import SLOTS

BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
# What ends a word's last token, and stands for the space behind it.
END_OF_WORD = "</w>"
# CLIP's: byte-level, ends of words are spaces, none stands around the text.
CLIP_DECODER: dict[str, Any] = {
    "type": "Sequence",
    "decoders": [
        json.loads(ByteLevel().__getstate__()),
        {"type": "Replace", "pattern": {"String": END_OF_WORD}, "content": " "},
        {"type": "Replace", "pattern": {"Regex": r"^\s+|\s+$"}, "content": ""},
    ],
}
CANNOT_STREAM = "the tokenizer's decoder changes text already written: it cannot stream"


@dataclass(frozen=True, **SLOTS)
class TokenBytes:
    """UTF-8 of each token id: `first` in a text, or `following` others.

    `tails` are what tokens write more once another one follows. `strips`: spaces around the whole
    text are not part of it.

    Tokens `in_runs` are bytes of which only a whole run makes text (SentencePiece's byte fallback);
    `anchor` is an ordinary token, and what it writes, behind which the tokenizer decodes such runs.
    """

    tokenizer: Tokenizer
    first: Sequence[bytes]
    following: Sequence[bytes]
    in_runs: frozenset[int] = frozenset()
    anchor: tuple[int, str] | None = None
    tails: Mapping[int, bytes] = field(default_factory=dict)
    strips: bool = False

    def run(self, tokens: Sequence[int], *, is_first: bool) -> str:
        """The text of neighbouring byte tokens."""
        if is_first or self.anchor is None:
            return str(self.tokenizer.decode(tokens, skip_special_tokens=False))
        token, text = self.anchor
        return str(self.tokenizer.decode([token, *tokens], skip_special_tokens=False))[len(text) :]


def read_token_bytes(tokenizer: Tokenizer, size: int) -> TokenBytes:
    """Read what the ids 0 .. size - 1 write; ids unknown to the tokenizer write nothing.

    Raises:
        ModelError: The decoder changes text that was written before, so it cannot be streamed.
    """
    symbols = {token: symbol for symbol, token in tokenizer.get_vocab().items() if token < size}
    if isinstance(tokenizer.decoder, ByteLevel):
        table = _table({token: _unmapped(symbol) for token, symbol in symbols.items()}, size)
        return TokenBytes(tokenizer, table, table)
    if json.loads(tokenizer.to_str())["decoder"] == CLIP_DECODER:
        return _clip_pieces(tokenizer, symbols, size)
    runs = _byte_tokens(tokenizer, symbols)
    others = [token for token in symbols if token not in runs]
    first = dict(zip(others, _decode(tokenizer, [[token] for token in others])))
    anchor = _find_anchor(tokenizer, first)
    following = _behind(tokenizer, anchor, others)
    return TokenBytes(
        tokenizer,
        _table({token: text.encode() for token, text in first.items()} | runs, size),
        _table({token: text.encode() for token, text in following.items()} | runs, size),
        frozenset(runs),
        anchor,
        _tails(tokenizer, anchor, following),
    )


def _behind(tokenizer: Tokenizer, anchor: tuple[int, str], tokens: list[int]) -> dict[int, str]:
    """What each token writes behind the anchor, where it is the last."""
    token, text = anchor
    texts = _decode(tokenizer, [[token, each] for each in tokens])
    if not all(whole.startswith(text) for whole in texts):
        raise ModelError(CANNOT_STREAM)
    return {each: whole[len(text) :] for each, whole in zip(tokens, texts)}


def _tails(
    tokenizer: Tokenizer, anchor: tuple[int, str], following: dict[int, str]
) -> dict[int, bytes]:
    """What stands between the text of each token and that of the anchor behind it, if anything."""
    token, text = anchor
    end = following[token]
    texts = _decode(tokenizer, [[token, each, token] for each in following])
    found = {}
    for (each, written), whole in zip(following.items(), texts):
        if not whole.startswith(text + written) or not whole.endswith(end):
            raise ModelError(CANNOT_STREAM)
        found[each] = whole[len(text + written) : len(whole) - len(end)].encode()
    return {each: tail for each, tail in found.items() if tail}


def _clip_pieces(tokenizer: Tokenizer, symbols: dict[int, str], size: int) -> TokenBytes:
    ends = {token for token, symbol in symbols.items() if symbol.endswith(END_OF_WORD)}
    table = _table(
        {
            token: _unmapped(symbol.removesuffix(END_OF_WORD) if token in ends else symbol)
            for token, symbol in symbols.items()
        },
        size,
    )
    return TokenBytes(tokenizer, table, table, tails=dict.fromkeys(ends, b" "), strips=True)


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
    """A token whose text stands as it is, whatever follows: best one that no space parts."""
    letters = [token for token, text in first.items() if text.isalnum()]
    twice = zip(letters, _decode(tokenizer, [[token, token] for token in letters]))
    good = [(token, both) for token, both in twice if both.startswith(first[token])]
    if not good:
        raise ModelError("the tokenizer has no token for letters")
    token, _ = min(good, key=lambda pair: pair[1] != 2 * first[pair[0]])
    return token, first[token]

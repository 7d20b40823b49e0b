"""A tokenizer as a service needs it: a prompt's ids, the text of ids, and the name of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from handler.engine.detokenizer import Detokenizer
from handler.engine.errors import ModelError
from handler.engine.token_bytes import read_token_bytes

# Any tokenizer makes tokens of some of this; what it adds stands before and behind them.
SAMPLE = "a A 0 . é 中 я א"

# Bytes of which UTF-8 consists, control characters apart.
BYTES_OF_TEXT = {*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF5)}


class Vocabulary:
    """Text to ids and back.

    `delimiters` stand before and behind a text: no part of it, unless asked for.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocab_size: int,
        delimiters: frozenset[int] = frozenset(),
        *,
        splits_special_tokens: bool = False,
    ) -> None:
        # Its threads are for batches (see `encode`): one a core, for nothing.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = splits_special_tokens
        self._tokenizer = tokenizer
        self._added = tokenizer.get_added_tokens_decoder()
        self._opening, _ = surroundings(tokenizer)
        known = set(tokenizer.get_vocab().values())
        # Ids that may be named: the model's, and tokens that the tokenizer has beyond them.
        self.size = max([vocab_size, *(token + 1 for token in known)])
        self._token_bytes = read_token_bytes(tokenizer, self.size)
        unknown = frozenset(range(self.size)) - known
        special = {token for token, added in self._added.items() if added.special}
        # By `skip_special_tokens`: delimiters alone, all special tokens, none.
        self._hidden = {None: unknown | delimiters, True: unknown | special, False: unknown}

    @classmethod
    def load(
        cls,
        path: Path,
        vocab_size: int,
        delimiters: frozenset[int] = frozenset(),
        *,
        splits_special_tokens: bool = False,
    ) -> Vocabulary:
        """Read `tokenizer.json`.

        Raises:
            ModelError: The file is missing or broken, or its text cannot be streamed.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"tokenizer.json cannot be read: {error}") from None
        return cls(tokenizer, vocab_size, delimiters, splits_special_tokens=splits_special_tokens)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text, behind those that the tokenizer puts in front of every text.

        What it appends (an end, a separator) is left off: a prompt is to be gone on with.
        """
        # `encode` would keep Python's lock until a long text is done, and everybody's step with it.
        # `fast`: without the places of tokens in the text, which nobody asks for; half the time.
        [encoding] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        ids: list[int] = encoding.ids
        return [*self._opening, *ids] if add_special_tokens else ids

    def keep_end(self, tokens: list[int], count: int) -> list[int]:
        """The last tokens, `count` in all, and still what the tokenizer put in front."""
        size = len(self._opening)
        if len(tokens) <= count or not size or tokens[:size] != self._opening or count <= size:
            return tokens[-count:]
        return [*self._opening, *tokens[size - count :]]

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool | None = None) -> str:
        """The text of tokens; bytes that are no character become U+FFFD."""
        writer = self.detokenizer(skip_special_tokens)
        return "".join([*map(writer.push, tokens), writer.finish()])

    def detokenizer(
        self, skip_special_tokens: bool | None = None, *, after: Sequence[int] = ()
    ) -> Detokenizer:
        """A writer of one text, or of what goes on `after` the tokens of another."""
        hidden = self._hidden[skip_special_tokens]
        writer = Detokenizer(self._token_bytes, hidden, is_first=hidden.issuperset(after))
        if self._token_bytes.tails:  # what the last one writes more, now that others follow
            for token in after:
                writer.push(token)
        return writer

    def bytes_of(self, token: int) -> bytes:
        """The bytes of what `symbol` shows."""
        added = self._added.get(token)
        if added is not None:
            return str(added.content).encode()
        return self._token_bytes.following[token] or self.symbol(token).encode()

    @property
    def is_byte_exact(self) -> bool:
        """Whether any text can be written byte by byte."""
        alone = {piece[0] for piece in self._token_bytes.following if len(piece) == 1}
        return alone >= BYTES_OF_TEXT and not self._token_bytes.tails

    @property
    def openings(self) -> list[int]:
        """Tokens that begin a text otherwise than they go on with one."""
        table = self._token_bytes
        pairs = zip(table.first, table.following)
        found = [token for token, (first, following) in enumerate(pairs) if first != following]
        # A blank as a byte token; decoders that strip a text's first blank strip this one too.
        blanks = [token for token in table.in_runs if table.following[token] == b" "]
        return found + [token for token in blanks if table.run([token], is_first=True) != " "]

    def grammar_bytes(self) -> tuple[list[bytes], list[int]]:
        """What each token writes behind others; and those that are no text: a name, if anything."""
        bytes_of = list(self._token_bytes.following)
        no_text = set(self._added) | self._hidden[None]
        for token in no_text:
            added = self._added.get(token)
            bytes_of[token] = str(added.content).encode() if added is not None else b""
        return bytes_of, sorted(no_text)

    def symbol(self, token: int) -> str:
        r"""A token as log probabilities show it: its text, or `bytes:\xe2\x80` if that is none.

        Added tokens show their name, ids that the tokenizer does not know their number.
        """
        added = self._added.get(token)
        if added is not None:
            return str(added.content)
        raw = self._token_bytes.following[token]
        if not raw:
            return self._tokenizer.id_to_token(token) or f"<|{token}|>"
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def surroundings(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and behind every text: tokens that belong to no sequence."""
    encoding = tokenizer.encode(SAMPLE)
    ids: list[int] = encoding.ids
    text = [place for place, number in enumerate(encoding.sequence_ids) if number is not None]
    return (ids[: text[0]], ids[text[-1] + 1 :]) if text else ([], [])

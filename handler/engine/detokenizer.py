"""Token ids to text, one at a time: bytes that are not yet a character wait for the rest.

Knows nothing of models or requests.
"""

from __future__ import annotations

import codecs

from handler.engine.token_bytes import TokenBytes


class Detokenizer:
    """Writes the text of a sequence as its tokens come: what it gives, joined, is the whole decode.

    Tokens in `hidden` write nothing and part nothing. `is_first` says whether a text begins here,
    or another one is gone on with.
    """

    def __init__(self, table: TokenBytes, hidden: frozenset[int], *, is_first: bool = True) -> None:
        self._table = table
        self._hidden = hidden
        self.is_first = is_first
        self._bytes = table.first if is_first else table.following
        self._run: list[int] = []
        self._tail = b""  # of the last token, should another follow
        self._spaces = ""  # of the end so far, where a text ends without
        self._may_begin_with_space = not (table.strips and is_first)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that this token completes; may be none."""
        if token in self._hidden:
            return ""
        if token in self._table.in_runs:
            self._run.append(token)
            return ""
        before = self._end_run() if self._run else ""
        text = self._decoder.decode(self._tail + self._bytes[token])
        self._tail = self._table.tails.get(token, b"")
        self._bytes = self._table.following
        return self._stripped(before + text) if self._table.strips else before + text

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never became whole."""
        text = self._end_run() + self._decoder.decode(b"", final=True)
        return self._stripped(text) if self._table.strips else text

    def _end_run(self) -> str:
        if not self._run:
            return ""
        text = self._table.run(self._run, is_first=self._bytes is not self._table.following)
        text = self._decoder.decode(self._tail) + text
        self._run, self._bytes, self._tail = [], self._table.following, b""
        return text

    def _stripped(self, text: str) -> str:
        """`text` without spaces that may be those around the whole."""
        text = self._spaces + text
        if not self._may_begin_with_space:
            text = text.lstrip()
        shown = text.rstrip()
        self._spaces = text[len(shown) :]
        self._may_begin_with_space |= bool(shown)
        return shown

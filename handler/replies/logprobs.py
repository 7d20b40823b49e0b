"""Log probabilities of a text in OpenAI's legacy shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from handler.engine.output import LogprobEntry
from handler.engine.step import TokenLogprob
from handler.engine.vocabulary import Vocabulary
from handler.requests.prompt_reader import PromptText
from handler.workshop import pace

Json = dict[str, Any]
# Tokens that are reported in one chunk.
AT_ONCE = 64


class LogprobWriter:
    """Writes those of one text, an echoed prompt's included."""

    def __init__(self, vocabulary: Vocabulary, prompt: PromptText) -> None:
        self._vocabulary = vocabulary
        self._prompt = prompt
        self._offset = len(prompt.echo)

    def prompt(self, logprobs: list[TokenLogprob | None], top: int) -> Json:
        """Those of the prompt's tokens: the first has none, nor have those that were not read.

        Beside each the `top` likeliest are reported, of which more may be known.
        """
        shape = self._empty()
        tokens = self._prompt.tokens
        logprobs = logprobs + [None] * (len(tokens) - len(logprobs))
        detokenizer = self._vocabulary.detokenizer(self._prompt.hides_special_tokens)
        lengths = [len(detokenizer.push(token)) for token in tokens]
        # Tokens that were put in front of a text are not in what is echoed.
        offset = self._offset - sum(lengths) - len(detokenizer.finish())
        for place, (token, length, logprob) in enumerate(zip(tokens, lengths, logprobs)):
            if place and place % AT_ONCE == 0:
                pace()
            at = min(max(0, offset), self._offset)
            self._add(shape, token, _first(logprob, top), at)
            offset += length
        return shape

    def prompt_by_token(self, logprobs: list[TokenLogprob | None], top: int) -> list[Json | None]:
        """Those of the prompt's tokens as vLLM reports them: by token id, with their ranks."""
        return [None if found is None else self._ranked(found, top) for found in logprobs]

    def _ranked(self, found: TokenLogprob, top: int) -> Json:
        ranks = {token: rank for rank, (token, _) in enumerate(found.top, 1)}
        shown = {found.token: found.logprob} | dict(found.top[:top])
        return {
            str(token): {
                "logprob": value,
                "rank": ranks.get(token),
                "decoded_token": self._vocabulary.symbol(token),
            }
            for token, value in shown.items()
        }

    def written(self, entries: list[LogprobEntry]) -> Json:
        """Those of tokens that were written."""
        shape = self._empty()
        for entry in entries:
            self._add(shape, entry.token, entry.logprob, self._offset + entry.text_offset)
        return shape

    @staticmethod
    def _empty() -> Json:
        return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}

    def _add(self, shape: Json, token: int, logprob: TokenLogprob | None, offset: int) -> None:
        symbol = self._vocabulary.symbol
        shape["tokens"].append(symbol(token))
        shape["token_logprobs"].append(None if logprob is None else logprob.logprob)
        top = None if logprob is None else {symbol(t): value for t, value in logprob.top}
        if top and logprob is not None:
            top.setdefault(symbol(token), logprob.logprob)  # as OpenAI: at most one more than asked
        shape["top_logprobs"].append(top)
        shape["text_offset"].append(offset)


def _first(logprob: TokenLogprob | None, top: int) -> TokenLogprob | None:
    return None if logprob is None else replace(logprob, top=logprob.top[:top])

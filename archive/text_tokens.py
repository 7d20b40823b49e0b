"""The tokens that begin, end and delimit a text, as `transformers` reads them from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive.errors import CheckpointError
from archive.reading import read_json
from archive.tokenizer import CheckpointTokenizer
from handler.archive_metadata import Tokens
from handler.engine.vocabulary import surroundings


@dataclass(frozen=True)
class TextTokens:
    """An empty prompt is `begin`; each of `end` ends a text; `delimiters` are not shown.

    `remarks` say what is odd, for the person who packs.
    """

    begin: int
    end: tuple[int, ...]
    delimiters: tuple[int, ...]
    splits_special: bool
    remarks: tuple[str, ...] = ()

    def metadata(self) -> Tokens:
        """Return what archive.json says of them."""
        return Tokens(
            begin=self.begin,
            end=list(self.end),
            delimiters=list(self.delimiters),
            splits_special=self.splits_special,
        )


def find_text_tokens(
    directory: Path,
    config: Mapping[str, Any],
    vocab_size: int,
    tokenizer: CheckpointTokenizer,
) -> TextTokens:
    """Read them from generation_config.json, or where there is none from the config.

    Raises CheckpointError if a token id is none.
    """
    generation = directory / "generation_config.json"
    overrules = generation.is_file()
    own = "config.json" if (directory / "config.json").is_file() else "the checkpoint"
    source = generation.name if overrules else own
    data = read_json(generation) if generation.is_file() else config
    bos = _ids(data, "bos_token_id", source)
    eos = _ids(data, "eos_token_id", source)
    beyond = [token for token in [*bos, *eos] if token >= vocab_size]
    remarks = []
    if beyond:
        remarks.append(
            f"{source} names the token {beyond[0]}, which is beyond the vocabulary of "
            f"{vocab_size} and never generated"
        )
    end = tuple(token for token in eos if 0 <= token < vocab_size)
    if not end:
        remarks.append(
            f"{source} names no eos_token_id that can be generated"
            f"{', and overrules config.json' if overrules else ''}: only length and stop strings "
            "end a completion"
        )
    before, after = surroundings(tokenizer.tokenizer)
    begins = [*before, *bos, tokenizer.bos_token, tokenizer.eos_token, *end, vocab_size - 1]
    added = tokenizer.tokenizer.get_added_tokens_decoder()
    named = {*bos, *eos, *before, *after, tokenizer.bos_token, tokenizer.eos_token}
    return TextTokens(
        next(token for token in begins if token is not None and 0 <= token < vocab_size),
        end,
        tuple(sorted(token for token in named if token is not None and token in added)),
        tokenizer.splits_special_tokens,
        tuple(remarks),
    )


def _ids(data: Mapping[str, Any], key: str, file: str) -> list[int]:
    """The ids under `key`: a number, a list of numbers, or null for none."""
    value = data.get(key)
    tokens = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in tokens):
        raise CheckpointError(
            f"{file}: {key} is {value!r}; a token id, a list of them or null is needed"
        )
    return tokens

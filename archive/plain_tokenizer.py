"""Reads a tokenizer that is GPT-2's byte-level BPE and nothing else, without `transformers`.

Plain is what no other file of the checkpoint changes, so that the file alone says all there is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from archive.errors import CheckpointError
from archive.plain_vocabulary import Names, read_vocabulary
from archive.reading import read_json

GENERAL_CLASS = "PreTrainedTokenizerFast"
CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast", GENERAL_CLASS)
END_OF_TEXT = "<|endoftext|>"  # what GPT-2's class calls every special token that has no name
# Settings that change no ids, or none beside a tokenizer.json.
IDLE = {
    "add_bos_token",
    "add_eos_token",
    "chat_template",
    "clean_up_tokenization_spaces",
    "errors",
    "model_max_length",
    "name_or_path",
    "padding_side",
    "special_tokens_map_file",
    "tokenizer_class",
    "tokenizer_file",
    "truncation_side",
}
NAMES = {"bos_token", "eos_token", "unk_token", "pad_token"}
MODEL = {
    "type": ("BPE",),
    "dropout": (None,),
    "unk_token": (None,),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}
BYTE_LEVEL = {"type": ("ByteLevel",), "use_regex": (None, True)}
BYTE_LEVEL_WITHOUT_SPACE = BYTE_LEVEL | {"add_prefix_space": (False,)}
ADDED = {
    "special": (True,),
    "lstrip": (False,),
    "rstrip": (False,),
    "single_word": (False,),
}
# transformers repairs larger vocabularies of one family while it loads them.
LARGEST = 100_000

FIRST_LAYOUT = ("vocab.json", "merges.txt")

Plain = tuple[Tokenizer, int | None, int | None]


def read_plain(directory: Path) -> Plain | None:
    """Return the tokenizer and the ids of its bos and eos tokens, or None if it is not plain.

    Raises CheckpointError if one of its files is broken.
    """
    names = _names(directory)
    path = directory / "tokenizer.json"
    if not path.is_file():
        return _read_first_layout(directory, names)
    data = read_json(path)
    added = {token.get("content"): token for token in data.get("added_tokens") or []}
    if names is None or not _is_byte_level(data) or not set(names.values()) <= {None, *added}:
        return None
    if not all(_matches(token, ADDED) for token in added.values()):
        return None
    if len({token.get("normalized") for token in added.values()}) > 1:
        return None  # two kinds are looked for one after the other
    try:
        tokenizer = Tokenizer.from_str(json.dumps(data))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"the tokenizer's files are broken ({error})") from None
    return tokenizer, _id(tokenizer, names["bos_token"]), _id(tokenizer, names["eos_token"])


def _read_first_layout(directory: Path, names: Names | None) -> Plain | None:
    """The tokenizer of vocab.json and merges.txt, beside which `add_bos_token` is heeded."""
    if names is None or not all((directory / name).is_file() for name in FIRST_LAYOUT):
        return None
    config = directory / "tokenizer_config.json"
    said = read_json(config) if config.is_file() else {}
    tokenizer = read_vocabulary(directory, names)
    if tokenizer is None or said.get("add_bos_token") or said.get("add_eos_token"):
        return None
    return tokenizer, _id(tokenizer, names["bos_token"]), _id(tokenizer, names["eos_token"])


def _id(tokenizer: Tokenizer, name: str | None) -> int | None:
    token: int | None = None if name is None else tokenizer.token_to_id(name)
    return token


def _is_byte_level(data: dict[str, Any]) -> bool:
    return (
        data.get("normalizer") is None
        and _matches(data.get("pre_tokenizer"), BYTE_LEVEL_WITHOUT_SPACE)
        and _matches(data.get("decoder"), BYTE_LEVEL)
        and (data.get("post_processor") is None or _matches(data["post_processor"], BYTE_LEVEL))
        and _matches(data.get("model"), MODEL)
        and len(data["model"].get("vocab") or ()) <= LARGEST
    )


def _matches(part: Any, allowed: dict[str, tuple[Any, ...]]) -> bool:
    return isinstance(part, dict) and all(part.get(key) in allowed[key] for key in allowed)


def _names(directory: Path) -> Names | None:
    """What the special tokens are called; None if another file says more than names."""
    if (directory / "added_tokens.json").exists():
        return None
    files = [
        read_json(directory / name) if (directory / name).is_file() else {}
        for name in ("tokenizer_config.json", "special_tokens_map.json")
    ]
    kind = files[0].get("tokenizer_class")
    if kind is None and (directory / "config.json").is_file():
        kind = read_json(directory / "config.json").get("tokenizer_class")
    if kind not in CLASSES:
        return None
    default = None if kind == GENERAL_CLASS else END_OF_TEXT
    names: Names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), default)
    for given in files:
        said = {key: given[key] for key in given.keys() - IDLE}
        if said.pop("add_prefix_space", False) or not said.keys() <= NAMES:
            return None
        if not all(name is None or isinstance(name, str) for name in said.values()):
            return None
        names |= said
    return names

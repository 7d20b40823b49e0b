"""Settings of a tokenizer drawn at random, in every file that may say them: as the judge has it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from archive.errors import CheckpointError
from tests.archive.checkpoints import TINY
from tests.archive.layouts import (
    SIZE,
    SPEAKERS,
    Json,
    embedded,
    file,
    legacy,
    mixed_lines,
    save,
    template,
    token,
)
from tests.archive.test_tokenizers import MODEL_SIZE, judge_of, served, streamed

CASES = 40
LINES = 150
CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast")
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
# Words that the vocabulary has, and others.
NAMES = ("<|endoftext|>", "<s>", "</s>", "<pad>", "[MASK]", "the", "Ġthe", "!", "<left>", *SPEAKERS)
SETTINGS: dict[str, tuple[Any, ...]] = {
    "add_bos_token": (True, False, None),
    "add_eos_token": (True, False),
    "add_prefix_space": (True, False),
    "split_special_tokens": (True, False),
    "clean_up_tokenization_spaces": (True, False),
    "model_max_length": (16, 1024, 10**30),
    "errors": ("replace", "strict"),
    "padding_side": ("left", "right"),
    "truncation_side": ("left",),
    "trim_offsets": (True, False),
    "use_fast": (True, False),
    "legacy": (True, False),
    "max_length": (8,),
    "name_or_path": ("gpt2",),
    "special_tokens_map_file": (None, "/root/special_tokens_map.json"),
    "spaces_between_special_tokens": (True, False),
}


class Draw:
    """What one case's files say."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def name(self, names: tuple[str, ...] = NAMES) -> Any:
        name = self.random.choice(names)
        if self.chance(0.6):
            return name
        flags = {flag: self.chance(0.3) for flag in ("lstrip", "rstrip", "single_word")}
        if self.chance(0.5):
            flags["special"] = self.chance(0.5)
        return token(name, **flags) | {"__type": "AddedToken"}

    def roles(self, share: float) -> Json:
        found: Json = {role: self.name() for role in ROLES if self.chance(share)}
        if self.chance(share / 2):
            found[self.random.choice(ROLES)] = None
        if self.chance(share):
            # Two that differ: of one name with two sets of flags, the judge forgets neither.
            found["additional_special_tokens"] = [self.name(NAMES[:5]), self.name(NAMES[5:])]
        return found

    def config(self) -> Json:
        found = self.roles(0.25)
        for name, values in SETTINGS.items():
            if self.chance(0.15):
                found[name] = self.random.choice(values)
        kind = self.random.choice(CLASSES)
        if kind is not None:
            found["tokenizer_class"] = kind
        if self.chance(0.2):
            places = self.random.sample(range(SIZE, SIZE + 4), 2)
            names = self.random.sample(NAMES[1:5] + NAMES[8:], 2)
            found["added_tokens_decoder"] = {
                str(place): token(name, special=self.chance(0.5), lstrip=self.chance(0.3))
                for place, name in zip(places, names, strict=True)
            }
        return found

    def added(self) -> tuple[Json, ...]:
        names = self.random.sample(["<left>", "<right>", "word", *SPEAKERS], 2)
        flags = ("lstrip", "rstrip", "single_word", "special", "normalized")
        return tuple(token(name, **{flag: self.chance(0.4) for flag in flags}) for name in names)

    def changes(self) -> Json:
        """Of tokenizer.json."""
        found: Json = {}
        if self.chance(0.2):
            found["post_processor"] = template(
                *self.random.choice([("<|endoftext|>", "$A"), ("$A", "<|endoftext|>")]),
                special={"<|endoftext|>": 0},
            )
        if self.chance(0.2):
            found["pre_tokenizer"] = embedded()["pre_tokenizer"] | {"add_prefix_space": True}
        if self.chance(0.1):
            found["normalizer"] = {"type": self.random.choice(["NFC", "Lowercase", "NFKC"])}
        return found

    def write(self, directory: Path) -> None:
        save(directory, "config.json", **TINY | {"vocab_size": MODEL_SIZE})
        which = self.random.choice(["file", "legacy", "both"])
        if which != "legacy":
            added = self.added() if self.chance(0.4) else ()
            file(None, added, **self.changes())(directory)
        if which != "file":
            legacy(line_end=self.random.choice(["\n", "\r\n"]))(directory)
        if self.chance(0.8):
            save(directory, "tokenizer_config.json", **self.config())
        if self.chance(0.4):
            save(directory, "special_tokens_map.json", **self.roles(0.3))
        if self.chance(0.2):
            names = self.random.sample(NAMES[1:5] + NAMES[8:], 2)
            save(
                directory,
                "added_tokens.json",
                **{name: SIZE + place for place, name in enumerate(names)},
            )


@pytest.mark.parametrize("seed", range(CASES))
def test_whatever_the_files_say_ids_are_the_judges(tmp_path: Path, seed: int) -> None:
    Draw(seed).write(tmp_path)
    compare(tmp_path)


def has_plain_role(directory: Path) -> bool:
    """Whether an end or a separator is said to be no special token, which contradicts itself."""
    for saying in (directory / "tokenizer_config.json", directory / "special_tokens_map.json"):
        said = json.loads(saying.read_text(encoding="utf-8")) if saying.exists() else {}
        roles = [said.get(role) for role in ROLES]
        if any(isinstance(role, dict) and role.get("special") is False for role in roles):
            return True
    return False


def compare(directory: Path) -> None:
    try:
        judge = judge_of(directory)
    except Exception:  # each kind of tokenizer raises its own
        with pytest.raises(CheckpointError):
            served(directory)
        return
    try:
        vocabulary = served(directory)
    except CheckpointError as refusal:
        assert has_plain_role(directory), refusal
        return
    own = [f"a{name} {name}b  {name}" for name in (*NAMES, *judge.get_added_vocab())]
    lines = [*own, *random.Random(7).sample(mixed_lines(), LINES)]
    appended = len(judge("")["input_ids"]) - len(vocabulary.encode(""))
    for line, ids in zip(lines, judge(lines)["input_ids"], strict=True):
        assert vocabulary.encode(line) == ids[: len(ids) - appended], line
        alone = judge(line, add_special_tokens=False)["input_ids"]
        assert vocabulary.encode(line, add_special_tokens=False) == alone, line
        kept = [i for i in ids if i < vocabulary.size]
        for skip in (False, True):
            whole = judge.decode(kept, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            assert streamed(vocabulary, kept, skip) == whole, line

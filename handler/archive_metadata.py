"""An archive's metadata: archive.json, which packaging writes and the service reads."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from handler.content import strict_json
from handler.engine.errors import ModelError
from handler.engine.model import ModelShape
from handler.errors import BadRequest
from handler.older_pythons import SLOTS
from handler.requests.schema import CompletionRequest
from handler.requests.validation import validate

METADATA = "archive.json"
# Goes up when an archive's files are called otherwise or hold something else.
LAYOUT = 2
PACK_AGAIN = "pack the model again, with package_model"
CHAT_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True, **SLOTS)
class Defaults:
    """Options of a request that does not say them."""

    max_tokens: int = 20
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    logprobs_mode: str = "raw_logprobs"

    @classmethod
    def read(cls, directory: Path, max_tokens: int) -> Defaults:
        """Take them from the checkpoint's generation_config.json, if it samples at all.

        A top_p of 0 keeps the likeliest token alone, which is what a temperature of 0 says here.

        Raises:
            ModelError: A value that a request could not have either.
        """
        path = directory / "generation_config.json"
        config = read_json(path) if path.exists() else {}
        if not config.get("do_sample"):
            return cls(max_tokens)
        names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        given = {name: config[name] for name in names if config.get(name) is not None}
        if given.get("top_p") == 0:
            given |= {"top_p": 1.0, "temperature": 0.0}
        try:
            request = validate(CompletionRequest, given)
        except BadRequest as error:
            raise ModelError(f"generation_config.json: {error.message}; correct it there") from None
        return cls(max_tokens, **{name: getattr(request, name) for name in given})


class Record(BaseModel):
    """A part of archive.json."""

    model_config = ConfigDict(frozen=True, strict=True)


class Tokens(Record):
    """Tokens with a meaning of their own.

    An empty prompt becomes `begin`; each of `end` ends a sequence. `delimiters` stand before and
    behind a text and are no part of it. A tokenizer may split special tokens like other words.
    """

    begin: int
    end: list[int]
    delimiters: list[int]
    splits_special: bool


class ArchiveMetadata(Record):
    """The file archive.json.

    Attributes:
        layout: LAYOUT of the version that packed it.
        name: What the archive is called.
        version: Its version.
        source: Where the checkpoint came from, so that no two share it.
        checkpoint: What people call the checkpoint.
        parameters: Trained ones; a head that is the embedding counts once.
        shape: The model's sizes.
        tokens: Tokens with a meaning of their own.
        engine: What computes it, "native" or "torch".
        precision: Of the matrices, "int4", "int8" or "fp32".
        form: The quantization scheme in detail, for people.
        cache: Of keys and values, "int8" or "float32".
        quality: What the scheme was measured to cost; None if it was not.
        license: What the model card names.
        examples: First words for people.
        size_bytes: Of the model's files.
        content_sha256: SHA-256 over everything in the archive but this file.
        files: SHA-256 of each file that is compared at the start, by its path in the archive.
        self_test: Digest of the text that the model wrote when it was packed (`start_checks`).
        created: When it was loaded, seconds since 1970; not in the file.
    """

    layout: int = LAYOUT
    name: str
    version: str
    source: str
    checkpoint: str
    parameters: int
    shape: ModelShape
    tokens: Tokens
    engine: str
    precision: str
    form: str
    cache: str
    quality: dict[str, Any] | None = None
    license: str | None = None
    examples: list[str] = []
    size_bytes: int = 0
    content_sha256: str | None = None
    files: dict[str, str] = {}
    self_test: str | None = None
    created: int = Field(default_factory=lambda: int(time.time()), exclude=True)

    @classmethod
    def read(cls, directory: Path) -> ArchiveMetadata:
        """Read the archive.json in an archive's model directory.

        Raises:
            ModelError: It is missing or broken, or another version has packed it.
        """
        data = read_json(directory / METADATA)
        if data.get("layout") != LAYOUT:
            raise ModelError(f"the archive was packed for another version: {PACK_AGAIN}")
        try:
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ModelError(f"{METADATA}: {where}: {first['msg']}; {PACK_AGAIN}") from None

    def write(self, directory: Path) -> None:
        """Write archive.json into an archive's model directory."""
        text = self.model_dump_json(indent=2)
        (directory / METADATA).write_text(text + "\n", encoding="utf-8")

    @property
    def context_length(self) -> int:
        """Positions of a text, its prompt among them."""
        return self.shape.max_length

    @property
    def vocab_size(self) -> int:
        """Tokens that the model knows."""
        return self.shape.vocab_size

    @property
    def bos_token(self) -> int:
        """What an empty prompt is."""
        return self.tokens.begin

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a sequence."""
        return frozenset(self.tokens.end)

    @property
    def delimiters(self) -> frozenset[int]:
        """Tokens that stand before and behind a text and are no part of it."""
        return frozenset(self.tokens.delimiters)

    @property
    def splits_special_tokens(self) -> bool:
        """Whether special tokens in a text are split like other words."""
        return self.tokens.splits_special


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: It is missing or broken.
    """
    try:
        value = strict_json.load(path.read_bytes())
    except OSError:
        raise ModelError(f"the archive has no {path.name}: {PACK_AGAIN}") from None
    except ValueError:
        raise ModelError(f"{path.name} is not valid JSON: {PACK_AGAIN}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} must contain an object")
    return value

"""What the archive says of itself and of the model in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler import strict_json
from handler.errors import BadRequest, ModelError
from handler.schema import CompletionRequest, validate


@dataclass(frozen=True, slots=True)
class Defaults:
    """Options of a request that does not say them."""

    max_tokens: int = 20
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

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


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """The file archive.json.

    An empty prompt is `bos_token`; each of `end_tokens` ends a text. `delimiters` begin and end
    texts and are no part of them. A tokenizer may split special tokens in a text like other words.
    """

    checkpoint: str
    parameters: int
    context_length: int
    vocab_size: int
    bos_token: int
    end_tokens: frozenset[int]
    delimiters: frozenset[int]
    splits_special_tokens: bool
    precision: str
    cache: str
    size_bytes: int
    quality: Mapping[str, Any] | None
    license: str | None
    # SHA-256 over everything in the archive; one packed by hand has none.
    content_sha256: str | None
    examples: tuple[str, ...]
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def read(cls, directory: Path, config: Mapping[str, Any]) -> ArchiveFacts:
        """Read archive.json beside the checkpoint's config.json.

        Raises:
            ModelError: The file is missing or says too little.
        """
        facts = read_json(directory / "archive.json")
        try:
            tokens = facts["tokens"]
            return cls(
                checkpoint=facts["checkpoint"],
                parameters=facts["parameters"],
                context_length=int(config["n_positions"]),
                vocab_size=int(config["vocab_size"]),
                bos_token=tokens["begin"],
                end_tokens=frozenset(tokens["end"]),
                delimiters=frozenset(tokens["delimiters"]),
                splits_special_tokens=tokens["splits_special"],
                precision=facts["precision"],
                cache=facts.get("cache", "float32"),
                size_bytes=facts["size_bytes"],
                quality=facts.get("quality"),
                license=facts.get("license"),
                content_sha256=facts.get("content_sha256"),
                examples=tuple(facts.get("examples", ())),
            )
        except KeyError as error:
            raise ModelError(f"archive.json does not say {error.args[0]}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: It is missing or broken.
    """
    try:
        value = strict_json.load(path.read_bytes())
    except OSError:
        raise ModelError(f"the archive has no {path.name}") from None
    except ValueError:
        raise ModelError(f"{path.name} is not valid JSON") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} must hold an object")
    return value

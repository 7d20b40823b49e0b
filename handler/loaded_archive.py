"""An unpacked archive once it is loaded and tried: the model, and all that is read beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handler.archive_metadata import ArchiveMetadata, Defaults
from handler.chat.conversations import Conversations
from handler.engine.errors import ModelError
from handler.engine.model import Model
from handler.engine.settings import EngineSettings
from handler.engine.vocabulary import Vocabulary
from handler.start_checks import files_compared, load_and_test


@dataclass(frozen=True)
class LoadedArchive:
    """What a service is made of.

    Attributes:
        metadata: Its archive.json.
        defaults: Options of a request that does not say them.
        vocabulary: The tokenizer's.
        model: What computes.
        settings: The engine's.
        conversations: Its chat template, if it has one.
        self_test: Digest of what the model wrote when it was loaded.
    """

    metadata: ArchiveMetadata
    defaults: Defaults
    vocabulary: Vocabulary
    model: Model
    settings: EngineSettings
    conversations: Conversations
    self_test: str

    @classmethod
    def load(
        cls,
        directory: Path,
        settings: EngineSettings,
        *,
        max_tokens: int,
        is_checked: bool,
    ) -> LoadedArchive:
        """Load it, and generate a few tokens with it, so that what follows is warm.

        Args:
            directory: The archive's root.
            settings: The engine's.
            max_tokens: The default of requests.
            is_checked: Compare its files and those tokens with what they were when it was packed.

        Raises:
            ModelError: Says in one line why the archive cannot be served.
        """
        files = directory / "model"
        metadata = ArchiveMetadata.read(files)
        with files_compared(directory, metadata.files if is_checked else {}):
            vocabulary = Vocabulary.load(
                files / "tokenizer.json",
                metadata.vocab_size,
                metadata.delimiters,
                splits_special_tokens=metadata.splits_special_tokens,
            )
            model, self_test = load_and_test(files, metadata, settings, is_checked)
            defaults = Defaults.read(files, min(max_tokens, metadata.context_length))
        return cls(
            metadata,
            replace(defaults, logprobs_mode=settings.logprobs_mode),
            vocabulary,
            model,
            settings,
            Conversations.load(files, metadata, vocabulary),
            self_test,
        )


def engine_settings(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> EngineSettings:
    """The engine's settings in model-config.yaml, and what takes the place of some.

    Raises:
        ModelError: One is not allowed.
    """
    engine = config.get("engine") or {}
    if not isinstance(engine, Mapping):
        raise ModelError("engine in model-config.yaml must hold settings, such as `slots: 32`")
    return EngineSettings.from_mapping({**engine, **overrides})

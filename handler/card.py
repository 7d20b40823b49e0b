"""The card of the loaded model: what /v1/models says of an archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from handler.loaded_archive import LoadedArchive

DEFAULTS_RULE = (
    "for what a request does not say; a request for the likeliest token (temperature 0, top_k 1, "
    "top_p 0 or min_p 1) takes none of them but max_tokens"
)


def model_card(
    name: str,
    version: str,
    archive: LoadedArchive,
    *,
    structured_outputs: bool,
    limits: Mapping[str, Any],
) -> dict[str, Any]:
    """The card of a loaded archive.

    Args:
        name: The model's, as clients know it.
        version: The model's.
        archive: What is loaded.
        structured_outputs: Whether a text can be held to a grammar.
        limits: What one request may ask for, and how much is served at once.
    """
    metadata = archive.metadata
    shape = metadata.shape
    return {
        "id": name,
        "object": "model",
        "created": metadata.created,
        "owned_by": "gpt2-torchserve",
        "version": version,
        "checkpoint": metadata.checkpoint,
        "parameters": metadata.parameters,
        "context_length": metadata.context_length,
        "vocab_size": metadata.vocab_size,
        "shape": {"layers": shape.layers, "heads": shape.heads, "width": shape.width},
        "engine": archive.settings.kind,
        "isa": archive.model.isa,
        "precision": metadata.precision,
        "form": metadata.form,
        "cache": metadata.cache,
        "size_bytes": metadata.size_bytes,
        "content_sha256": metadata.content_sha256,
        "quality": metadata.quality,
        "license": metadata.license,
        "examples": metadata.examples,
        "chat_template": archive.conversations.has_template,
        "structured_outputs": structured_outputs,
        "defaults": asdict(archive.defaults),
        "defaults_rule": DEFAULTS_RULE,
        "limits": dict(limits),
    }

"""The card of the loaded model: what /v1/models says of an archive."""

from __future__ import annotations

from typing import Any

from handler.archive_metadata import ArchiveMetadata

DEFAULTS_RULE = (
    "for what a request does not say; a request for the likeliest token (temperature 0, top_k 1, "
    "top_p 0 or min_p 1) takes none of them but max_tokens"
)


def model_card(
    name: str, version: str, metadata: ArchiveMetadata, engine: str, isa: str
) -> dict[str, Any]:
    """The fields of a card that are known from the archive and the processor.

    Args:
        name: The model's, as clients know it.
        version: The model's.
        metadata: The archive's.
        engine: What computes it, "native" or "torch".
        isa: The instruction set that computes; may be empty.
    """
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
        "engine": engine,
        "isa": isa,
        "precision": metadata.precision,
        "form": metadata.form,
        "cache": metadata.cache,
        "size_bytes": metadata.size_bytes,
        "content_sha256": metadata.content_sha256,
        "quality": metadata.quality,
        "license": metadata.license,
        "examples": metadata.examples,
    }

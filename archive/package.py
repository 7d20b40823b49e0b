"""From a checkpoint to an archive: the order of the steps, each reported as it passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archive.chat import find_chat_template
from archive.checkpoint import Checkpoint, open_checkpoint
from archive.checkpoint_files import copy_checkpoint_files, read_examples, read_license
from archive.files import copy_weights
from archive.fitting import check_memory
from archive.gate import write_model
from archive.generation import check_generation
from archive.hub import find_checkpoint
from archive.layouts import add_configuration
from archive.naming import check_replaceable, source_id
from archive.packing import (
    add_code,
    add_settings,
    check_space,
    content_digest,
    model_bytes,
    pack,
    packed_size,
    pins,
    staging,
)
from archive.sbom import add_sbom
from archive.schemes import FULL, schemes_for
from archive.settings import Settings
from archive.text import read_passages
from archive.trial import try_out
from handler.archive_metadata import CHAT_TEMPLATE, ArchiveMetadata
from handler.start_checks import file_digests


def package_model(settings: Settings) -> Path:
    """Build the archive that `settings` asks for and return its path.

    Raises PackagingError for whatever cannot be packed; nothing is left behind then, and an
    archive of the same name stays as it was.
    """
    if not settings.may_replace:
        check_replaceable(settings.target.path, source_id(settings.model))
    checkpoint, chat_template = _open(settings)
    with staging(settings.target) as content:
        check_space(content, 4 * checkpoint.parameters)
        metadata = stage(settings, checkpoint, content, chat_template)
        say("loading it and writing from it, as a worker does")
        metadata.model_copy(update={"self_test": try_out(content)}).write(content / "model")
        path = pack(content, settings.target)
    configuration = add_configuration(settings.target, settings.layout)
    if configuration is not None:
        say(f"{configuration} is for TorchServe in KServe's container")
    say(f"{path} is ready: {metadata.form}, {packed_size(path) / 1e6:,.1f} MB")
    return path


def check_model(settings: Settings) -> None:
    """Tell what a checkpoint is, what is odd about it and what would be packed; write nothing.

    Raises PackagingError for what `package_model` would refuse before it computes anything.
    """
    checkpoint, chat_template = _open(settings)
    shape = checkpoint.shape
    for name in checkpoint.weights:  # read, and so found whole and finite
        checkpoint.weights[name]
    sizes = f"{shape.heads} heads, width {shape.width}, {shape.max_length:,} positions"
    head = "the head is the embedding" if shape.tied_head else "a head of its own"
    ends = ", ".join(map(str, checkpoint.tokens.end)) or "none"
    say(f"weights: {checkpoint.format}; whole and finite")
    say(f"shape: {sizes}, {shape.vocab_size:,} tokens, {shape.activation}, {head}")
    say(f"tokenizer: {checkpoint.tokenizer.get_vocab_size():,} tokens; end tokens: {ends}")
    say(f"chat template: {'none' if chat_template is None else 'there'}")
    say(f"would pack {settings.target.path}: --engine {settings.engine}, "
        f"--precision {settings.precision}, --cache {settings.cache}")  # fmt: skip
    if not settings.may_replace:
        check_replaceable(settings.target.path, source_id(settings.model))


def _open(settings: Settings) -> tuple[Checkpoint, str | None]:
    """The checkpoint that is asked for, and its chat template if it has one."""
    source = find_checkpoint(settings.model, settings.tokenizer, settings.base)
    say(f"checking {source.name}")
    checkpoint = open_checkpoint(source.path, source.name, source.tokenizer, source.base)
    say(f"{checkpoint.parameters / 1e6:,.1f} million parameters, {checkpoint.shape.layers} layers")
    asked = (settings.engine, settings.precision, settings.cache)
    check_memory(checkpoint.name, checkpoint.shape, *asked)
    read_examples(checkpoint.directory)  # found broken now, not after minutes
    odd = check_generation(checkpoint.directory)
    for remark in (*checkpoint.remarks, *checkpoint.tokens.remarks, *odd):
        say(f"note: {remark}")
    beside = source.tokenizer or checkpoint.directory
    return checkpoint, find_chat_template(settings.chat_template, checkpoint, beside)


def stage(
    settings: Settings, checkpoint: Checkpoint, content: Path, chat_template: str | None = None
) -> ArchiveMetadata:
    """Write all of an archive into `content`, but for what a trial finds; return what it is."""
    scheme = _add_model(settings, checkpoint, content / "model")
    copy_checkpoint_files(checkpoint, content / "model")
    if chat_template is not None:
        (content / "model" / CHAT_TEMPLATE).write_text(chat_template, encoding="utf-8")
    add_code(content, settings.engine)
    add_settings(content, settings.engine, settings.model_config)
    license_name, files = read_license(checkpoint.directory), file_digests(content)
    add_sbom(
        content,
        name=settings.target.name,
        version=settings.target.version,
        checkpoint=checkpoint.name,
        license_name=license_name,
        files=files,
        requirements=pins(),
    )
    metadata = ArchiveMetadata(
        name=settings.target.name,
        version=settings.target.version,
        source=source_id(settings.model),
        checkpoint=checkpoint.name,
        parameters=checkpoint.parameters,
        shape=checkpoint.shape,
        tokens=checkpoint.tokens.metadata(),
        engine=settings.engine,
        license=license_name,
        examples=read_examples(checkpoint.directory),
        size_bytes=model_bytes(content),
        content_sha256=content_digest(content),
        files=files,
        **scheme,
    )
    metadata.write(content / "model")
    return metadata


def _add_model(settings: Settings, checkpoint: Checkpoint, model: Path) -> dict[str, Any]:
    """Write what the engine loads and return what archive.json says about it."""
    if settings.engine == "torch":
        copy_weights(checkpoint, model)
        return {"precision": "fp32", "form": "fp32", "cache": "float32"}
    is_full = schemes_for(settings.precision, settings.cache) == [FULL]
    choice = write_model(
        checkpoint.weights,
        checkpoint.shape,
        model,
        precision=settings.precision,
        cache=settings.cache,
        passages=None if is_full else read_passages(checkpoint, settings.calibration_text),
        say=say,
    )
    say(f"packing {choice.scheme.name}, {choice.scheme.cache} cache: {choice.reason}")
    return {
        "precision": choice.scheme.precision,
        "form": choice.scheme.name,
        "cache": choice.scheme.cache,
        "quality": choice.figures(),
    }


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)

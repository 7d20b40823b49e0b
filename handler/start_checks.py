"""Checks before an archive serves: files against their digests, and a generated text.

A flipped bit, a cut download, a broken library or memory end the start, and never a reply.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from handler.archive_metadata import METADATA, PACK_AGAIN, ArchiveMetadata
from handler.engine.errors import ModelError
from handler.engine.loading import load_model
from handler.engine.model import Model
from handler.engine.options import SamplingOptions
from handler.engine.settings import EngineSettings
from handler.engine.step import Draw

# Folders of an archive whose files are compared; code and settings may be changed by hand.
CHECKED = (Path("model"), Path("handler", "engine", "native", "lib"))
PROMPT_TOKENS = 8
GREEDY_TOKENS = 8


def file_digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that is compared, by its path in the archive."""
    files = (file for folder in CHECKED for file in sorted((root / folder).glob("*")))
    return {
        file.relative_to(root).as_posix(): _digest(file)
        for file in files
        if file.is_file() and file.name != METADATA
    }


@contextmanager
def files_compared(root: Path, digests: Mapping[str, str]) -> Iterator[None]:
    """Compare an archive's files with their digests in a thread, while they are loaded within.

    Raises:
        ModelError: Names the file that differs, whatever its content made of the loading.
    """
    with ThreadPoolExecutor(1) as pool:
        comparison = pool.submit(_find_fault, root, digests)
        try:
            yield
        except ModelError:
            if fault := comparison.result():
                raise ModelError(fault) from None
            raise
        if fault := comparison.result():
            raise ModelError(fault)


def _find_fault(root: Path, digests: Mapping[str, str]) -> str:
    for name, expected in digests.items():
        try:
            found = _digest(root / name)
        except OSError:
            return f"the archive has no {name}: {PACK_AGAIN}"
        if found != expected:
            return f"{name} is damaged (its digest has changed since it was packed): {PACK_AGAIN}"
    return ""


def _digest(path: Path) -> str:
    digest, block = hashlib.sha256(), memoryview(bytearray(1 << 18))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):  # `hashlib.file_digest`, which Python 3.11 brought
            digest.update(block[:count])
    return digest.hexdigest()


def greedy_digest(model: Model, metadata: ArchiveMetadata) -> str:
    """Return the digest of a short text of the likeliest tokens, with their log probabilities.

    It is the same on every processor where the model is exact. Slot 0 is used.
    """
    digest = hashlib.sha256()
    draw = Draw(SamplingOptions(max_tokens=1, seed=0, temperature=0.0), top=1)
    room = metadata.shape.max_length
    first = [
        (metadata.tokens.begin + i * 7919) % metadata.shape.vocab_size for i in range(PROMPT_TOKENS)
    ]
    tokens, start = first[: max(1, room // 2)], 0
    for _ in range(min(GREEDY_TOKENS, room - len(tokens))):
        rows = np.zeros((len(tokens) - start, 3), np.int32)
        rows[:, 0], rows[:, 2] = tokens[start:], range(start, len(tokens))
        draw.row = len(rows) - 1
        [answer] = model.step(rows, [draw])
        if answer.logprob is None:
            raise ModelError("the model gives values that are not finite")
        digest.update(f"{answer.token} {answer.logprob.logprob.hex()}\n".encode())
        start = len(tokens)
        tokens.append(answer.token)
    return digest.hexdigest()


def run_self_test(model: Model, metadata: ArchiveMetadata) -> str:
    """Have a model write a short text, and compare that with what it wrote when it was packed.

    Returns:
        The text's digest.

    Raises:
        ModelError: It writes another text.
    """
    found = greedy_digest(model, metadata)
    if model.is_exact and metadata.self_test not in (None, found):
        raise ModelError(
            "the model's output has changed since it was packed: the archive, or this machine's "
            f"memory or processor, is faulty; {PACK_AGAIN}"
        )
    return found


def load_and_test(
    directory: Path, metadata: ArchiveMetadata, settings: EngineSettings, is_checked: bool
) -> tuple[Model, str]:
    """Load the model in `directory`; return it and the digest of what it writes.

    Raises:
        ModelError: It cannot be loaded, or writes something else than when it was packed.
    """
    try:
        model = load_model(directory, metadata.shape, settings)
        digest = run_self_test if is_checked else greedy_digest
        return model, digest(model, metadata)
    except ModelError:
        raise
    except Exception as error:  # no memory for the cache, or arrays and sizes disagree
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"the model cannot be started: {reason}") from error

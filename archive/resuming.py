"""Downloads large files from the hub so that an interrupted download is resumed.

The hub's client (2.4.0) goes on behind a closed connection, but removes its part once it gives up.
Here the part stays in the cache, beside the client's blobs, and becomes one of them when it is
whole; the client then finds it there. Files of Xet are left to the client.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from archive.errors import CheckpointError

LARGE_BYTES = 1_000_000
SHA256 = re.compile(r"[0-9a-f]{64}")
BLOCK_BYTES = 1 << 20


def bring_large_files(hub_id: str, commit: str, names: Iterable[str], cache: Path) -> None:
    """Download those files of a model that are large, each from where its part ends.

    Args:
        hub_id: The model.
        commit: Its revision.
        names: Files to look at.
        cache: The hub client's.

    Raises:
        CheckpointError: What came is not what the hub says that it has; it is removed.
        Exception: Whatever the client raises when the connection is lost.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name

    blobs = cache / repo_folder_name(repo_id=hub_id, repo_type="model") / "blobs"
    for name in names:
        url = hf_hub_url(hub_id, name, revision=commit)
        found = get_hf_file_metadata(url)
        if found.size is None or found.size < LARGE_BYTES or found.xet_file_data is not None:
            continue
        if found.etag is None or not SHA256.fullmatch(found.etag) or (blobs / found.etag).exists():
            continue
        blobs.mkdir(parents=True, exist_ok=True)
        _bring(name, found.location, urlsplit(url).netloc, blobs / found.etag, found.size)


def _bring(name: str, location: str, host: str, blob: Path, size: int) -> None:
    """Download one file into the cache; its name there is its SHA-256."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    part = blob.with_name(f"{blob.name}.part")
    headers = build_hf_headers()
    if urlsplit(location).netloc != host:  # a token is for the hub, not for where files lie
        headers.pop("authorization", None)
    with FileLock(blob.with_name(f"{blob.name}.lock")):
        if blob.exists():  # another process was first
            return
        part.touch()
        if part.stat().st_size > size:
            part.write_bytes(b"")
        with part.open("r+b") as file:
            start = file.seek(0, 2)
            if start:
                print(f"going on with {name}, {start / size:.0%} of which is there", flush=True)
            if start < size:
                http_get(location, file, resume_size=start, headers=headers, expected_size=size)
        if _sha256(part) != blob.name:
            part.unlink()
            raise CheckpointError(f"{name} came broken from the hub: please try again")
        part.rename(blob)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()

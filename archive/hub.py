"""Finds the checkpoint that a person named: a local directory, or an id on the Hugging Face hub."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from archive.errors import CheckpointError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# What packaging reads; pickles and other frameworks' weights are not even downloaded.
WANTED = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "examples.json",
    "README.md",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
]
TIMEOUT_SECONDS = 15
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Source:
    """Where a checkpoint lies and what people call it."""

    directory: Path
    name: str


def find_checkpoint(model: str) -> Source:
    """Return the directory of `model`, downloading it if it is a hub id.

    Raises CheckpointError if there is no such directory, or the hub has none or is out of reach.
    """
    directory = Path(model).expanduser()
    if directory.is_dir():
        return Source(directory, directory.resolve().name)
    if directory.exists():
        raise CheckpointError(f"--model {model} is a file; a checkpoint is a directory")
    if not HUB_ID.fullmatch(model):
        raise CheckpointError(f"--model {model}: no such directory")
    return Source(_download(model), model)


def _download(hub_id: str) -> Path:
    # Imported late: a local checkpoint needs none of it.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    print(f"looking for {hub_id} on the Hugging Face hub", flush=True)
    try:
        files = HfApi().model_info(hub_id, timeout=TIMEOUT_SECONDS).siblings or []
    except GatedRepoError:
        raise CheckpointError(f"{hub_id} on the hub asks for a login (set HF_TOKEN)") from None
    except RepositoryNotFoundError:
        raise CheckpointError(f"no directory and no model on the hub is called {hub_id}") from None
    except HfHubHTTPError as error:
        raise CheckpointError(f"the hub refused {hub_id}: {_first_line(error)}") from None
    except Exception:  # each version of the hub's client raises its transport's own errors
        return _from_cache(hub_id)
    names = [file.rfilename for file in files]
    if not any(name.endswith(".safetensors") for name in names):
        kind = "only as pickle files, which are never loaded" if _pickles(names) else "nowhere"
        raise CheckpointError(f"{hub_id} on the hub has its weights {kind}; safetensors is needed")
    try:
        return Path(snapshot_download(hub_id, allow_patterns=WANTED))
    except LocalEntryNotFoundError:
        raise _out_of_reach(hub_id) from None
    except HfHubHTTPError as error:
        raise CheckpointError(f"the hub broke off {hub_id}: {_first_line(error)}") from None


def _from_cache(hub_id: str) -> Path:
    """Return an earlier download of `hub_id`, since the hub does not answer."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        directory = snapshot_download(hub_id, allow_patterns=WANTED, local_files_only=True)
    except LocalEntryNotFoundError:
        raise _out_of_reach(hub_id) from None
    print("the hub is out of reach: taking the copy downloaded before", flush=True)
    return Path(directory)


def _out_of_reach(hub_id: str) -> CheckpointError:
    return CheckpointError(
        f"no directory is called {hub_id}, and the Hugging Face hub is out of reach; "
        "check the network, or name a local directory"
    )


def _pickles(names: list[str]) -> bool:
    return any(name.endswith(PICKLES) for name in names)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

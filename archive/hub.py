"""Finds the checkpoint that a person named: a local directory, or an id on the Hugging Face hub."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from archive.errors import CheckpointError, PackagingError
from archive.packing import telling_full_disk

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# What packaging reads; pickles and other frameworks' weights are not even downloaded.
WANTED = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "*.model",
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

    Raises PackagingError if there is no such directory, if the hub has none, refuses it or is out
    of reach, or if the download breaks off or finds no room.
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
    """Return a copy of the model, the one downloaded before where the hub is out of reach."""
    # Imported late: a local checkpoint needs none of it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.utils.tqdm import disable_progress_bars

    # What goes wrong is said once, as an error; bars are for people who watch.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="huggingface_hub")
    if not sys.stderr.isatty():
        disable_progress_bars()
    print(f"looking for {hub_id} on the Hugging Face hub", flush=True)
    with _telling_failures(hub_id), telling_full_disk(Path(HF_HUB_CACHE)):
        names = _names_on_hub(hub_id)
        if names is not None:
            _check_weights(hub_id, names)
        directory = snapshot_download(hub_id, allow_patterns=WANTED, local_files_only=names is None)
    if names is None:
        print("the hub is out of reach: taking the copy downloaded before", flush=True)
    return Path(directory)


def _names_on_hub(hub_id: str) -> list[str] | None:
    """Return the names of the model's files, or None where the hub does not answer."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = HfApi().model_info(hub_id, timeout=TIMEOUT_SECONDS).siblings or []
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise
        return None
    except (PermissionError, NotADirectoryError):
        raise  # of HF_HOME, where the client looks for a token
    except Exception:  # each version of the hub's client raises its transport's own errors
        return None
    return [file.rfilename for file in files]


def _check_weights(hub_id: str, names: list[str]) -> None:
    if not any(name.endswith(".safetensors") for name in names):
        kind = "only as pickle files, which are never loaded" if _pickles(names) else "nowhere"
        raise CheckpointError(f"{hub_id} on the hub has its weights {kind}; safetensors is needed")


@contextmanager
def _telling_failures(hub_id: str) -> Iterator[None]:
    """Turn whatever the hub's client raises into one line for the person who asked."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        yield
    except PackagingError:
        raise
    except GatedRepoError:
        raise CheckpointError(
            f"{hub_id} on the hub is gated: ask for access there and set HF_TOKEN"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise CheckpointError(
            f"no directory and no model on the hub is called {hub_id} "
            "(a private one needs HF_TOKEN)"
        ) from None
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"no directory is called {hub_id}, and the Hugging Face hub is out of reach; "
            "check the network, or name a local directory"
        ) from None
    except HfHubHTTPError as error:
        raise CheckpointError(f"the hub refused {hub_id}: {_first_line(error)}") from None
    except Exception as error:  # the transport's and Xet's own; they have no common name
        raise CheckpointError(
            f"the download of {hub_id} broke off: {_first_line(error)}; please try again"
        ) from None


def _pickles(names: list[str]) -> bool:
    return any(name.endswith(PICKLES) for name in names)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

"""Finds the checkpoint that a person named: a directory, a file, or an id on the hub."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from archive.disk import telling_disk_faults
from archive.errors import CheckpointError, PackagingError
from archive.formats.elsewhere import cached_name, refuse_known, unpacked_cache
from archive.gpt2_own import OWN_TOKENIZER
from archive.naming import hub_name
from archive.reading import BESIDE, EXAMPLES, TOKENIZER, read_json
from archive.resuming import bring_large_files

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
REVISION = re.compile(r"[\w./-]+")
# What packaging reads beside the weights.
WANTED = (*BESIDE, EXAMPLES, "README.md", *TOKENIZER)
# Of weights in several formats, the first of these that is there is downloaded.
WEIGHTS = (
    ("adapter_model.safetensors",),
    ("adapter_model.bin",),
    ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
    ("tf_model.h5", "tf_model.h5.index.json", "tf_model-*.h5"),
    ("flax_model.msgpack", "flax_model.msgpack.index.json", "flax_model-*.msgpack"),
    ("*.safetensors",),
    ("*.gguf",),
    ("*.pt", "*.pth", "*.ckpt", "*.bin"),
    ("*.ckpt*", "checkpoint"),
)
TIMEOUT_SECONDS = 15
ARCHIVE = ".mar"


@dataclass(frozen=True)
class Source:
    """Where a checkpoint lies and what people call it.

    `path` is a directory or a file; `tokenizer` is given where another one was asked for (see
    `archive.checkpoint.open_checkpoint`), `base` where `path` is an adapter.
    """

    path: Path
    name: str
    tokenizer: Path | None = None
    base: Path | None = None


def find_checkpoint(model: str, tokenizer: str | None = None, base: str | None = None) -> Source:
    """Return where `model` lies, downloading what is a hub's.

    Args:
        model: A directory, a file, or `ID` or `ID@revision` of the hub.
        tokenizer: "gpt2" for GPT-2's own, a directory, or a hub id; None for the model's.
        base: The model that an adapter changes; None for the one that it names itself.

    Raises:
        PackagingError: There is no such directory, the hub has no such model, refuses it or is out
            of reach, or the download breaks off or finds no room.
    """
    path, name = _find(model, "--model", WEIGHTS)
    return Source(path, name, _find_tokenizer(tokenizer), _find_base(path, base))


def _find(model: str, option: str, weights: tuple[tuple[str, ...], ...] = ()) -> tuple[Path, str]:
    path = Path(model).expanduser()
    if path.suffix == ARCHIVE and path.is_file():
        raise CheckpointError(f"{option} {model} is an archive already: ./scripts/serve takes it")
    if path.exists():
        path = unpacked_cache(path)
        own = path.resolve()
        name = own.name if path.is_dir() else f"{own.parent.name}/{own.name}"
        return path, cached_name(own) or name
    model = hub_name(model)
    hub_id, _, revision = model.partition("@")
    if not HUB_ID.fullmatch(hub_id) or (revision and not REVISION.fullmatch(revision)):
        raise CheckpointError(f"{option} {model}: no such directory")
    return _download(hub_id, revision or None, weights), model


def _find_tokenizer(tokenizer: str | None) -> Path | None:
    if tokenizer is None or tokenizer == OWN_TOKENIZER.name:
        return None if tokenizer is None else OWN_TOKENIZER
    path, _ = _find(tokenizer, "--tokenizer")
    return path if path.is_dir() else path.parent


def _find_base(path: Path, base: str | None) -> Path | None:
    config = path / "adapter_config.json"
    if base is None and config.is_file():
        named = read_json(config).get("base_model_name_or_path")
        if not isinstance(named, str) or not named:
            raise CheckpointError(f"{config.name} names no base model: give it with --base")
        beside = path / named
        base = str(beside) if beside.is_dir() else named
    return None if base is None else _find(base, "--base", WEIGHTS)[0]


def _download(hub_id: str, revision: str | None, weights: tuple[tuple[str, ...], ...]) -> Path:
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
    with _telling_failures(hub_id, revision), telling_disk_faults(Path(HF_HUB_CACHE)):
        found = _on_hub(hub_id, revision)
        if found is None:
            return _kept_copy(hub_id, revision, weights)
        names = [file.rfilename for file in found.siblings or []]
        patterns = _wanted_weights(hub_id, names, weights)
        large = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
        if found.sha is not None:
            bring_large_files(hub_id, found.sha, large, Path(HF_HUB_CACHE))
        wanted = [*WANTED, *patterns]
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))


def _kept_copy(hub_id: str, revision: str | None, weights: tuple[tuple[str, ...], ...]) -> Path:
    """Return the copy downloaded before, in the first format whose weights are whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for patterns in weights or ((),):
        with suppress(LocalEntryNotFoundError):
            found = snapshot_download(
                hub_id,
                revision=revision,
                allow_patterns=[*WANTED, *patterns],
                local_files_only=True,
            )
            if not weights or any(any(Path(found).glob(pattern)) for pattern in patterns):
                print("the hub cannot be reached: using the copy downloaded earlier", flush=True)
                return Path(found)
    raise LocalEntryNotFoundError(hub_id)


def _on_hub(hub_id: str, revision: str | None) -> ModelInfo | None:
    """Return what the hub says of a model and its files, or None where it does not answer."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().model_info(hub_id, revision=revision, timeout=TIMEOUT_SECONDS)
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise
        return None
    except (PermissionError, NotADirectoryError):
        raise  # of HF_HOME, where the client looks for a token
    except Exception:  # each version of the hub's client raises its transport's own errors
        return None


def _wanted_weights(
    hub_id: str, names: list[str], weights: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    """The patterns of the first format of weights that the model has; none where none is wanted."""
    if not weights:
        return ()
    for patterns in weights:
        if any(fnmatch(name, pattern) for name in names for pattern in patterns):
            return patterns
    for name in names:
        refuse_known(Path(name))
    there = ", ".join(names[:4]) or "nothing"
    raise CheckpointError(
        f"{hub_id} on the hub has no weights in a format that is read; there is {there}: name "
        "another model"
    )


@contextmanager
def _telling_failures(hub_id: str, revision: str | None) -> Iterator[None]:
    """Turn whatever the hub's client raises into one line for the person who asked."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except PackagingError:
        raise
    except GatedRepoError:
        raise CheckpointError(
            f"{hub_id} on the hub is gated: ask for access there and set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise CheckpointError(f"{hub_id} on the hub has no revision {revision}") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise CheckpointError(
            f"no directory and no model on the hub is called {hub_id} "
            "(a private one needs HF_TOKEN)"
        ) from None
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"no directory is called {hub_id}, and the Hugging Face hub cannot be reached; "
            "check the network, or name a local directory"
        ) from None
    except HfHubHTTPError as error:
        raise CheckpointError(f"the hub refused {hub_id}: {_first_line(error)}") from None
    except Exception as error:  # the transport's and Xet's own; they have no common name
        raise CheckpointError(
            f"the download of {hub_id} was interrupted: {_first_line(error)}; please try again"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

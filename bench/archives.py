"""The archives of this project for the bench: packed by its own packager, and unpacked."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from archive.packing import Target, add_code, add_settings, staging
from archive.packing import pack as run_archiver
from bench.checkpoints import CACHE, ROOT, Checkpoint
from bench.environments import run
from handler.archive_metadata import ArchiveMetadata
from handler.start_checks import file_digests

_ready: set[Path] = set()


def pack(
    checkpoint: Checkpoint, precision: str, say: Callable[[str], None], keep: bool = False
) -> Path:
    """Return a directory with gpt2.mar and, unpacked beside it, `gpt2/`; made if out of date.

    Converting and measuring a model takes minutes, so that its files are kept while only the
    handler changes; with `keep` also while the packager does. Looked at once a run: all of a run
    measures the same archive.
    """
    home = home_of(checkpoint, precision)
    if home in _ready:
        return home
    model, code = home / "model-made-from", home / "code-made-from"
    wanted = _digest([ROOT / "archive", checkpoint.path])
    if not model.exists() or not (keep or model.read_text() == wanted):
        say(f"packing {checkpoint.name} ({precision})")
        home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "archive", "--model", str(checkpoint.path)]
        command += ["--precision", precision, "--output", str(home), "--name", "gpt2", "--replace"]
        run(command, f"packing {checkpoint.name} ({precision})")
        _unpack(home)
        model.write_text(wanted)
        code.write_text(_code())
    elif not code.exists() or code.read_text() != _code():
        _pack_again(home)
        code.write_text(_code())
    _ready.add(home)
    return home


def home_of(checkpoint: Checkpoint, precision: str) -> Path:
    """Return where this archive is kept."""
    return CACHE / "archives" / f"{checkpoint.path.name}-{precision}"


def metadata(home: Path) -> dict[str, object]:
    """What the archive says of itself: precision, size, the gate's figures."""
    found: dict[str, object] = json.loads((home / "gpt2" / "model" / "archive.json").read_text())
    return found


def _pack_again(home: Path) -> None:
    """Put today's handler and settings around the model files that are there."""
    target = Target("gpt2", "1.0", home)
    with staging(target) as content:
        shutil.copytree(home / "gpt2" / "model", content / "model", dirs_exist_ok=True)
        engine = str(metadata(home)["engine"])
        add_code(content, engine)
        add_settings(content, engine, ROOT / "config" / "model-config.yaml")
        about = ArchiveMetadata.read(content / "model")
        about.model_copy(update={"files": file_digests(content)}).write(content / "model")
        run_archiver(content, target)
    _unpack(home)


def _unpack(home: Path) -> None:
    shutil.rmtree(home / "gpt2", ignore_errors=True)
    with zipfile.ZipFile(home / "gpt2.mar") as archive:
        archive.extractall(home / "gpt2")


def _code() -> str:
    return _digest([ROOT / "handler", ROOT / "config"])


def _digest(directories: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.name.encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()

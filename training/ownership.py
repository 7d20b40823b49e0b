"""Whose a directory is: a run writes over nothing that it did not write itself."""

import hashlib
import json
import os
from pathlib import Path

from training.errors import TrainingError

RUN_FILE = "run.json"
WRITTEN_FILE = "written.json"


def check_output(directory: Path) -> None:
    """See that a run may write there: nothing is in it, or a run of ours that goes on.

    Raises:
        TrainingError: It is somebody else's, or is not a directory.
    """
    above = next(p for p in (directory, *directory.absolute().parents) if os.path.lexists(p))
    if not above.is_dir():
        raise TrainingError(f"--output: {above} is not a directory")
    if not os.access(above, os.W_OK | os.X_OK):
        raise TrainingError(f"--output: {above} cannot be written to")
    if not directory.is_dir() or _holds_run(directory):
        return
    found = [path for path in directory.iterdir() if not path.name.startswith(".")]
    if any(path.name != f"{RUN_FILE}.part" for path in found):
        raise TrainingError(
            f"--output: {directory} is not empty ({found[0].name}) and holds no run of this "
            "command; name another directory"
        )


def _holds_run(directory: Path) -> bool:
    try:
        record = json.loads((directory / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and {"text_digest", "steps", "seed"} <= record.keys()


def keep_changed(directory: Path, names: tuple[str, ...]) -> list[str]:
    """Move aside each of these files that is not as we wrote it; return their new names."""
    written = _written(directory)
    kept = []
    for name in names:
        file = directory / name
        if file.is_file() and written.get(name) != _digest(file):
            aside = next(
                path
                for number in range(1, 1000)
                if not (path := file.with_name(f"{name}.kept-{number}")).exists()
            )
            file.rename(aside)
            kept.append(aside.name)
    return kept


def note_written(directory: Path, names: tuple[str, ...]) -> None:
    """Note how these files were written."""
    files = {name: directory / name for name in names}
    digests = {name: _digest(file) for name, file in files.items() if file.is_file()}
    text = json.dumps(_written(directory) | digests, indent=1) + "\n"
    (directory / WRITTEN_FILE).write_text(text, encoding="utf-8")


def _written(directory: Path) -> dict[str, str]:
    try:
        found = json.loads((directory / WRITTEN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

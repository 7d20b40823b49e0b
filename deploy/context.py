"""The build context of an image: the files that .dockerignore allows. Knows nothing of gcloud."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from deploy.settings import ROOT, DeployError

IGNORE_FILE = ".dockerignore"
# The Dockerfile copies this directory, and no other, to where a model is packed.
MODELS = "models"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-]+")


def files(root: Path = ROOT) -> Iterator[Path]:
    """Yield the files of the context, relative to `root`, in a fixed order."""
    rules = _rules(root)
    for directory, inside, names in os.walk(root):
        here = Path(directory).relative_to(root)
        inside[:] = sorted(name for name in inside if not _is_ignored(here / name, rules))
        yield from (here / name for name in sorted(names) if not _is_ignored(here / name, rules))


def digest(model: str, root: Path = ROOT) -> str:
    """Return a SHA-256 of all that the image depends on: the files, and the model's name."""
    found = hashlib.sha256(f"{model}\0".encode())
    for path in files(root):
        content = (root / path).read_bytes()
        found.update(f"{path}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()


def model_argument(model: str, root: Path = ROOT) -> str:
    """Return the Dockerfile's MODEL: a hub id as it is, a directory relative to the context.

    Raises:
        DeployError: The build could not find it, which would show only once it is paid for.
    """
    if not Path(model).is_dir():
        if HUB_ID.fullmatch(model) and not model.startswith((".", f"{MODELS}/")):
            return model
        raise DeployError(
            f"--model {model} is neither a directory nor the id of a model on the hub"
        )
    path = Path(model).resolve()
    if root / MODELS not in path.parents:
        raise DeployError(f"--model {model} is not in {MODELS}/: copy it there")
    relative = path.relative_to(root)
    if _is_ignored(relative, _rules(root)):
        raise DeployError(f"--model {model} is kept out of the build by {IGNORE_FILE}")
    if not (path / "config.json").is_file():
        raise DeployError(f"--model {model} holds no config.json: not a checkpoint")
    return str(relative)


def _rules(root: Path) -> list[tuple[re.Pattern[str], bool]]:
    """Read the ignore file: what a line fits, and whether that is ignored."""
    lines = (root / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    rules = []
    for line in (line.strip() for line in lines):
        if line and not line.startswith("#"):
            pattern = re.escape(line.removeprefix("!").removeprefix("/"))
            pattern = pattern.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
            rules.append((re.compile(pattern), not line.startswith("!")))
    return rules


def _is_ignored(path: Path, rules: list[tuple[re.Pattern[str], bool]]) -> bool:
    found = False
    names = [str(path), *(str(parent) for parent in path.parents[:-1])]
    for pattern, ignores in rules:
        if any(pattern.fullmatch(name) for name in names):
            found = ignores
    return found

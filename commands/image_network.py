"""The network settings of this machine that are passed to an image build."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from commands.pip import as_variables, network_settings
from commands.terminal import say

# Of pip's settings, those that the Dockerfile takes; and variables of its own.
PIP = ("index-url", "extra-index-url", "find-links", "cert")
OTHERS = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "TORCH_INDEX_URL", "HF_ENDPOINT")
CACHE = "PIP_CACHE_DIR"


def build_arguments(python: Path, with_docker: bool) -> list[str]:
    """Return the arguments; Docker, whose builds do not see this machine's files, gets no paths."""
    settings = _settings(python)
    arguments = []
    for name, value in settings.items():
        if with_docker and _names_local_path(value):
            say(f"not passed to Docker, whose builds cannot read local files: {name}={value}")
        else:
            arguments += ["--build-arg", f"{name}={value}"]
    if not with_docker:
        arguments += [word for path in _paths(settings) for word in ("-v", f"{path}:{path}")]
    return arguments


def _settings(python: Path) -> dict[str, str]:
    pip = {name: value for name, value in network_settings(python).items() if name in PIP}
    found = as_variables(pip)
    cache = os.environ.get(CACHE) or _cache(python)
    if cache:
        found[CACHE] = cache
    return found | {name: os.environ[name] for name in OTHERS if os.environ.get(name)}


def _cache(python: Path) -> str:
    command = [str(python), "-m", "pip", "cache", "dir"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _names_local_path(value: str) -> bool:
    return any(word.startswith(("/", "file://")) for word in value.split())


def _paths(settings: Mapping[str, str]) -> Iterator[str]:
    """Yield what lies on this machine, once each."""
    words = dict.fromkeys(word for value in settings.values() for word in value.split())
    for word in words:
        path = word.removeprefix("file://")
        path = path.removesuffix("/simple")  # an index on the disk names files beside itself
        if path.startswith("/") and Path(path).exists():
            yield path

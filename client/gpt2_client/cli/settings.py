"""The service's address and keys: from the environment, then from a checkout's files.

./scripts/gpt2 names its checkout in GPT2_ENV_DIR; a `gpt2` from elsewhere reads no file, since a
`.env` of the folder it happens to run in belongs to somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DEFAULT_HOST = "http://127.0.0.1"
DEFAULT_PORT = 8080
NAMES = ("GPT2_URL", "GPT2_MANAGEMENT_URL", "GPT2_API_KEY", "GPT2_MANAGEMENT_KEY")
FILES = (".env", ".env.local")  # the later one counts more

_LINE = re.compile(
    r"""^\s*(?:export\s+)?(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|(.*?))\s*(?:(?<=\s)\#.*)?$"""
)


def gather(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the client's settings that are set; GPT2_URL always is."""
    folder = environment.get("GPT2_ENV_DIR")
    known = (*NAMES, "PORT") if folder else NAMES
    found: dict[str, str] = {}
    for name in FILES if folder else ():
        found.update(_read(Path(folder or "", name)))
    found.update({name: environment[name] for name in known if environment.get(name)})
    settings = {name: found[name] for name in NAMES if found.get(name)}
    port = found.get("PORT", "") if folder else ""
    # As a service of Kubernetes called "" would have it: tcp://10.96.0.5:80 is no port of ours.
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    settings.setdefault("GPT2_URL", f"{DEFAULT_HOST}:{int(port) if is_port else DEFAULT_PORT}")
    return settings


def _read(path: Path) -> dict[str, str]:
    """Return what a file sets; nothing where it is missing or not ours to read."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError:
        return {}
    found = filter(None, map(_LINE.match, text.splitlines()))
    return {line[1]: line[2] or line[3] or line[4] or "" for line in found}

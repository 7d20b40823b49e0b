"""Verifies who signed an archive, before it is loaded: by model-signing, where a key is named.

In a process of its own, so that the service holds none of what that imports.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SUFFIX = ".sig"
PACKAGE = "model_signing"
NOT_INSTALLED = (
    "MODEL_PUBLIC_KEY_FILE is set, but model-signing is not installed: install it with `python3 -m "
    "commands install serve sign`, or unset it to load archives without a signature"
)
LONGEST_SECONDS = 600


class BadSignature(Exception):
    """An archive that is not loaded; one line that names it and says why."""


def is_installed() -> bool:
    """Return whether signatures can be verified."""
    return importlib.util.find_spec(PACKAGE) is not None


def verify(archive: Path, key: Path | None) -> None:
    """Refuse an archive, or an unpacked one, whose signature is not of this key; none asks nothing.

    Raises:
        BadSignature: It has none, or another's, or has changed since.
    """
    if key is None:
        return
    if not key.is_file():
        raise BadSignature(f"MODEL_PUBLIC_KEY_FILE: there is no file {key}")
    signature = archive.with_name(archive.name + SUFFIX)
    if not signature.is_file():
        raise BadSignature(
            f"{archive.name} is not signed, but MODEL_PUBLIC_KEY_FILE requires it: "
            f"there is no {signature.name} next to it"
        )
    command = [sys.executable, "-m", PACKAGE, "verify", "key", "--public_key", str(key)]
    # It refuses links.
    command += ["--signature", str(signature), str(archive.resolve())]
    try:
        done = subprocess.run(
            command,
            env={"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadSignature(
            f"{archive.name}: its signature was not verified in {LONGEST_SECONDS} s"
        ) from None
    if done.returncode:
        reason = (done.stderr.strip() or "it gave no reason").splitlines()[-1][:300]
        raise BadSignature(
            f"{archive.name} was not signed with this key, or has changed since: {reason}"
        )

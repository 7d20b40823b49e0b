"""Tries a staged archive before it is called ready: loads it like a worker and generates text.

In a process of its own: what it takes is given back, and a crash is reported like any other
failure.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import yaml

from archive.errors import PackagingError
from archive.packing import ROOT
from handler.engine.errors import ModelError
from handler.errors import RequestError
from handler.service import Service

PROMPTS = ["", "Once upon a time"]
TOKENS = 8
SECONDS = 600  # for what a slow machine generates in a few, of the largest model too
FAILED = "error: "


def try_out(content: Path) -> str:
    """Return the digest of what the model in the staged files writes (`Service.self_test`).

    Raises:
        PackagingError: They cannot be served, in the worker's own words.
    """
    command = [sys.executable, "-m", "archive.trial", str(content)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        faults = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
        reason = (faults or lines or [f"it ended with status {done.returncode}"])[-1]
        raise PackagingError(f"the archive cannot be served: {reason}")
    return done.stdout.strip()


def write_from(directory: Path) -> str:
    """Load an archive and go on with some prompts, with every default that it brings.

    Returns:
        The digest of the short text that the model writes when it is loaded.

    Raises:
        ModelError: It cannot be loaded, or does not write.
    """
    config = yaml.safe_load((directory / "model-config.yaml").read_text(encoding="utf-8"))
    service = Service.load(directory, name="trial", version="1.0", config=config, max_tokens=TOKENS)
    try:
        body = {"prompt": PROMPTS, "seed": 0, "truncate_prompt": True}
        reply = service.complete("trial", body)
        service.submit(reply)
        deadline = time.monotonic() + SECONDS
        while not reply.finished:
            if time.monotonic() > deadline:
                raise ModelError(
                    f"{len(PROMPTS)} completions were not finished in {SECONDS} seconds"
                )
            for output in service.engine.collect():
                reply.add(output)
    except RequestError as error:
        raise ModelError(error.message) from None
    finally:
        service.engine.stop()
    if reply.error is not None:
        raise ModelError(reply.error.message)
    return service.self_test


if __name__ == "__main__":
    try:
        print(write_from(Path(sys.argv[1])))
    except ModelError as failure:
        sys.exit(f"{FAILED}{failure}")

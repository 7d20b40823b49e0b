"""`./scripts/gpt2`: the client, in an environment of its own with none of the service.

Works on Python 3.9, as the client does.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.environment import Environment
from commands.pip import PipError
from commands.sizes import Size

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "client"
NAME = "the client"
SIZE = Size(fetched=3, left=30)


def run(words: Sequence[str], environment: Environment, started_in: str) -> int:
    """Become the client's command line; its --help and wrong usage are answered at once."""
    digest = hashlib.sha256((CLIENT / "pyproject.toml").read_bytes()).hexdigest()[:16]
    if environment.digests().get(NAME) != digest:
        _check_usage(words)
        environment.announce([NAME], SIZE)
        pip = environment.prepare()
        try:
            pip.run("install", "--editable", str(CLIENT))
        except PipError as error:
            raise environment.failed(error) from None
        environment.record({NAME: digest})
    # Files are named from where the command was typed; the service's settings lie in the checkout.
    os.chdir(started_in)
    os.environ.update(GPT2_ENV_DIR=str(ROOT), PYTHONPATH=str(CLIENT))
    return environment.replace_this_process([str(environment.place / "bin" / "gpt2"), *words])


def _check_usage(words: Sequence[str]) -> None:
    sys.path.insert(0, str(CLIENT))
    from gpt2_client.cli.main import check_usage

    sys.argv[1:] = words
    check_usage()

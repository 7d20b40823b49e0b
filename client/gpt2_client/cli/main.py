"""Where `gpt2` begins. Loads what a command needs only when its usage is right."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gpt2_client.cli.arguments import parser


def main(arguments: list[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run one command and return the exit code."""
    environment = os.environ if environment is None else environment
    args = parser(environment).parse_args(arguments)
    from gpt2_client.cli.commands import run

    return run(args, environment)


def check_usage() -> None:
    """End the process where there is nothing to run: on --help, and on wrong usage."""
    parser(os.environ).parse_args()

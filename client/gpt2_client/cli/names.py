"""Models by the names that people type: `GPT2`, `someone/my-gpt2`, `my-gpt2.mar`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TypeVar

from gpt2_client.cli.terminal import Terminal
from gpt2_client.client import Client
from gpt2_client.errors import ClientError, NotFound

_Result = TypeVar("_Result")


class UnknownName(Exception):
    """There is no such model, and what there is."""


def with_model(
    client: Client, typed: str, terminal: Terminal, act: Callable[[str], _Result]
) -> _Result:
    """Act on the model `typed`; where there is none, on the one that is called alike.

    Raises:
        UnknownName: No model that is loaded is called so, or several are.
        NotFound: It is there, so something else was not found.
    """
    try:
        return act(typed)
    except NotFound:
        try:
            loaded = names(client)
        except ClientError:
            loaded = [typed]  # we may not see what is loaded
        if typed in loaded:
            raise
    meant = alike(typed, loaded)
    terminal.note(f"gpt2: {typed!r} stands for the model {meant}")
    return act(meant)


def names(client: Client) -> list[str]:
    """Name what is loaded."""
    return list(client.registered()) if client.bare else [each.id for each in client.models()]


def alike(typed: str, loaded: Sequence[str]) -> str:
    """Return the one loaded model that is called as was typed but for its spelling.

    Raises:
        UnknownName: There is none, or there are several.
    """
    same = [name for name in loaded if _plain(name) == _plain(typed)]
    if len(same) == 1:
        return same[0]
    near = same or difflib.get_close_matches(typed, loaded, 1)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"loaded: {', '.join(loaded) or 'none'}"
    )
    raise UnknownName(f"there is no model {typed!r}; {hint}")


def _plain(name: str) -> str:
    last = name.rstrip("/").rpartition("/")[2].lower()
    return "".join(letter for letter in last.removesuffix(".mar") if letter.isalnum())

"""`gpt2 score FILE`: what a model makes of a text, as a table, JSON or a page with a heat map."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from gpt2_client.cli import standard
from gpt2_client.cli.exit_codes import DONE
from gpt2_client.cli.heat_map import HOT_BITS, page
from gpt2_client.cli.names import with_model
from gpt2_client.cli.terminal import Terminal
from gpt2_client.client import Client
from gpt2_client.score import Score, score

# What is scored is held in memory, a few hundred bytes for each word.
MAX_BYTES = 16 * 2**20
# Of the 256 colours of terminals, from pale to red; the first means none.
_SHADES = (None, 230, 223, 216, 209, 203, 196)


def run(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Score one text."""
    text = _read(args.file)
    found = with_model(client, args.model, terminal, lambda model: score(client, text, model=model))
    if args.json or args.format == "json":
        sums = {"bits_per_character": found.bits_per_character, "perplexity": found.perplexity}
        terminal.json({"file": args.file, **sums, **vars(found)})
    elif args.format == "html":
        terminal.drawn(page(found, text, "standard input" if args.file == "-" else args.file))
    else:
        for line in _table(found, terminal.has_colour()):
            terminal.drawn(line)
    return DONE


def summary(found: Score) -> str:
    """The figures in one line."""
    return (
        f"{found.bits_per_character:.3f} bits per character, perplexity {found.perplexity:.1f}; "
        f"{found.characters} characters, {len(found.words)} words, {found.tokens} tokens; "
        f"model {found.model}"
    )


def _read(name: str) -> str:
    if name == "-":
        return standard.read_text()
    path = Path(name)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise standard.InputError(f"cannot read {name}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise standard.InputError(f"{name} is larger than {MAX_BYTES // 2**20} MiB; split it")
    return standard.decoded(data, what=name)


def _table(found: Score, is_coloured: bool) -> Iterator[str]:
    yield f"{'bits':>7}  {'tokens':>6}  word"
    for word in found.words:
        shown = "".join(letter for letter in word.text if letter.isprintable())
        shade = _SHADES[min(len(_SHADES) - 1, int(word.bits / HOT_BITS * len(_SHADES)))]
        if is_coloured and shade is not None:
            shown = f"\x1b[30;48;5;{shade}m{shown}\x1b[0m"
        yield f"{word.bits:7.2f}  {word.tokens:6}  {shown}"
    yield summary(found)

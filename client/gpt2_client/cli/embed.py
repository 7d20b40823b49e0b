"""`gpt2 embed TEXT...`: a vector for each text, numbers side by side or as JSON."""

from __future__ import annotations

import argparse

from gpt2_client.cli import standard
from gpt2_client.cli.exit_codes import DONE
from gpt2_client.cli.names import with_model
from gpt2_client.cli.terminal import Terminal
from gpt2_client.client import Client
from gpt2_client.results import EmbeddingOptions, Embeddings

# Texts of one request; a file may have any number.
AT_ONCE = 256


def run(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Print a line for each text."""
    texts = _texts(args.texts)
    options: EmbeddingOptions = {}
    if args.pooling is not None:
        options["pooling"] = args.pooling
    if args.dimensions is not None:
        options["dimensions"] = args.dimensions
    if args.truncate_prompt:
        options["truncate_prompt"] = True
    for first in range(0, len(texts), AT_ONCE):
        part = texts[first : first + AT_ONCE]

        def embed(model: str, part: list[str] = part) -> Embeddings:
            return client.embed(part, model=model, **options)

        found = with_model(client, args.model, terminal, embed)
        for text, vector in zip(part, found.vectors):
            if args.json:
                terminal.json({"text": text, "embedding": list(vector)})
            else:
                terminal.line("\t".join(map(repr, vector)))
    return DONE


def _texts(given: list[str]) -> list[str]:
    if given != ["-"]:
        return [standard.argument(text, "a text") for text in given]
    lines = standard.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if not line:
            raise standard.InputError(f"line {number} of standard input is empty: it has no vector")
    return lines

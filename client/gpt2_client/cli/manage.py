"""The commands that manage a service: status, scale, register, unregister, set-default."""

from __future__ import annotations

import argparse
import re

from gpt2_client.cli import standard
from gpt2_client.cli.exit_codes import DONE, FAILED, NO_ANSWER
from gpt2_client.cli.names import UnknownName, names, with_model
from gpt2_client.cli.terminal import Terminal, status_lines
from gpt2_client.client import Client
from gpt2_client.errors import APIError, NotFound, Unauthorized, Unavailable
from gpt2_client.results import ModelInfo, ModelStatus

_VERSION = re.compile(r"v?\d+(\.\d+)*")


def scale(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Serve a model by so many workers."""
    said = with_model(
        client, _model(args), terminal, lambda model: client.scale(args.workers, model=model)
    )
    return _done(said, terminal)


def register(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Load an archive."""
    archive = standard.argument(args.archive, "the archive's name")
    return _done(client.register(archive, model=args.registered_as, workers=args.workers), terminal)


def unregister(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Unload a version: of the model that is named, or where a version alone is, of --model."""
    model, version = _model(args), args.of_model
    if args.name is not None and version is None and _VERSION.fullmatch(args.name):
        loaded = names(client)
        if args.name not in loaded:
            model, version = args.model, args.name
    said = with_model(client, model, terminal, lambda name: _unregister(client, name, version))
    return _done(said, terminal)


def set_default(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Choose the version that plain requests get."""
    said = with_model(
        client, _model(args), terminal, lambda model: _set_default(client, model, args.of_model)
    )
    return _done(said, terminal)


def status(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Say whether it is up, what is loaded and which workers run."""
    model = _model(args)
    health = client.health(model=model)
    models: list[ModelInfo] = []
    if health.ready:
        model, models = with_model(client, model, terminal, lambda name: _cards(client, name))
    versions, closed = _versions(client, model) if health.live else ([], "")
    if args.json:
        terminal.json({"health": health, "models": models, "versions": versions})
    else:
        state = "ready" if health.ready else "up, not ready" if health.live else "down"
        terminal.line(f"service: {state}" + (f" ({health.detail})" if health.detail else ""))
        for info in models:
            terminal.line(_described(info))
        for version in versions:
            for line in status_lines(version):
                terminal.line(line)
        if closed:
            terminal.note(f"workers: {closed}")
    return DONE if health.ready else FAILED if health.live else NO_ANSWER


def _model(args: argparse.Namespace) -> str:
    return standard.argument(args.name or args.model, "the model's name")


def _unregister(client: Client, model: str, version: str | None) -> str:
    try:
        return client.unregister(model, version)
    except NotFound as error:
        raise _no_version(client, model, version) or error from None


def _set_default(client: Client, model: str, version: str) -> str:
    try:
        return client.set_default(model, version)
    except NotFound as error:
        raise _no_version(client, model, version) or error from None


def _no_version(client: Client, model: str, version: str | None) -> UnknownName | None:
    """Say which versions there are, where the model is there and that one is not."""
    if version is None:
        return None
    try:
        there = [each.version for each in client.describe(model, "all")]
    except APIError:
        return None
    if version in there:
        return None
    return UnknownName(f"{model} has no version {version!r}; loaded: {', '.join(there)}")


def _cards(client: Client, model: str) -> tuple[str, list[ModelInfo]]:
    """Return the name of a model and what it says of itself; nothing where it writes no text."""
    try:
        return model, client.models(model=model)
    except Unavailable:
        return model, []


def _versions(client: Client, model: str) -> tuple[list[ModelStatus], str]:
    """Return what runs, or why that is not shown: without the key the rest is worth showing."""
    try:
        return client.describe(model, "all"), ""
    except Unauthorized:
        return [], "needs the management key"
    except APIError as error:
        return [], str(error)


def _described(info: ModelInfo) -> str:
    size = f"{info.parameters / 1e6:.1f}M parameters" if info.parameters else "?"
    return (
        f"model {info.id} {info.version}: {info.checkpoint}, {size}, "
        f"context {info.context_length}, {info.engine} {info.precision}"
    )


def _done(sentence: str, terminal: Terminal) -> int:
    if terminal.as_json:
        terminal.json({"status": sentence})
    else:
        terminal.line(sentence)
    return DONE

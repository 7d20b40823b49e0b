"""`./scripts/serve`: checks, sets up, packs the model if need be, and becomes the gateway."""

from __future__ import annotations

import argparse
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commands import processes
from commands.environment import Environment
from commands.errors import CommandError
from commands.installing import ensure
from commands.terminal import say
from commands.torch_build import TORCH

if TYPE_CHECKING:
    from gateway.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED = ROOT / "models" / "gpt2-tales"
# To pack and to serve; an archive that is there already needs the first alone.
GROUPS = ("serve", "package")
# What an archive is made of, beside its model.
SOURCES = ("handler", "archive", "config/model-config.yaml", "pyproject.toml")
# Of a checkpoint's directory, what belongs to any of its files.
BESIDE = ("*.json", "*.txt", "*.model", "*.jinja", "meta.pkl", "vocab.bpe")
LONGEST_NAME = 60
DESCRIPTION = """\
Sets everything up on the first run, packs the model, starts TorchServe and the gateway,
and stays in the foreground until Ctrl-C. Needs Python 3.11 or newer and nothing else."""
EXAMPLES = """\
examples:
  ./scripts/serve
  ./scripts/serve --model openai-community/gpt2
  ./scripts/serve --model ./my-fine-tuned-gpt2 --port 9000
  ./scripts/serve --model model_store/my-gpt2.mar

More settings (keys, limits, drain ...) are variables of the environment, .env.local or .env:
docs/gateway.md.
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    result = argparse.ArgumentParser(
        prog="serve",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--model",
        type=_model,
        metavar="DIR_FILE_HUB_ID_OR_MAR",
        help="the GPT-2 to serve: a checkpoint's directory or file, or a model hub's id or "
        "ID@REVISION; or an archive of ./scripts/package_model, which is served as it is (default: "
        "MODEL_ARCHIVE of MODEL_STORE where it is set, else the small one that comes with this "
        "project)",
    )
    result.add_argument(
        "--port",
        type=_port,
        help="the port to listen on (default: PORT in .env.local or .env, 8080)",
    )
    result.add_argument(
        "--skip-self-test",
        action="store_true",
        help=(
            "start without checking that the archive's files and output are those that were packed"
        ),
    )
    return result


def _model(given: str) -> str:
    if not given:
        raise argparse.ArgumentTypeError("it is empty; give a directory, a hub id or an archive")
    path = Path(given)
    if given.endswith(".mar") and not path.is_file():
        raise argparse.ArgumentTypeError(
            f"there is no archive {given}; ./scripts/package_model makes one"
        )
    return str(path.resolve()) if path.exists() else given


def _port(given: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", given) or not 1 <= int(given) <= 65535:
        raise argparse.ArgumentTypeError(
            f"it must be a whole number from 1 to 65535, not '{given}'"
        )
    return int(given)


def run(options: argparse.Namespace, environment: Environment) -> int:
    """Become the gateway.

    Raises:
        CommandError: It cannot be.
    """
    if options.port is not None:
        os.environ["PORT"] = str(options.port)
    if options.skip_self_test:
        os.environ["SKIP_SELF_TEST"] = "true"
    os.chdir(ROOT)
    chosen = _chosen(options.model, _checked_settings())
    if chosen.archive:
        ensure(environment, ROOT, ["serve", *_needed_by(chosen.store / chosen.archive)])
        archive = chosen.archive
    else:
        ensure(environment, ROOT, GROUPS)
        archive = _packed(chosen, environment).name
    # Without a management key, management is open to this machine alone.
    os.environ.setdefault("LOCAL_MANAGEMENT", "true")
    os.environ.update(MODEL_STORE=str(chosen.store), MODEL_ARCHIVE=archive)
    return environment.replace_this_process(["-m", "gateway"])


@dataclass(frozen=True)
class Chosen:
    """What is served: an archive of a store, or a checkpoint that is packed into it."""

    store: Path
    archive: str = ""
    checkpoint: str = ""


def _chosen(model: str | None, settings: Settings) -> Chosen:
    """Choose by `--model`, else by MODEL_ARCHIVE; say which setting is passed over for it."""
    from gateway.settings import given

    named, store = given(), settings.model_store.resolve()
    if model is None and "MODEL_ARCHIVE" in named:
        archive = store / settings.model_archive
        if not archive.exists():
            raise CommandError(
                f"MODEL_ARCHIVE: there is no archive {archive}; ./scripts/package_model makes one"
            )
        return Chosen(store, settings.model_archive)
    is_archive = model is not None and model.endswith(".mar")
    passed_over = named & ({"MODEL_ARCHIVE", "MODEL_STORE"} if is_archive else {"MODEL_ARCHIVE"})
    if passed_over:
        say(f"ignored because of --model: {', '.join(sorted(passed_over))}")
    if model is not None and is_archive:
        return Chosen(Path(model).parent, Path(model).name)
    return Chosen(store, checkpoint=model or str(EMBEDDED))


def _checked_settings() -> Settings:
    """Find a setting or a port that cannot be used now, not after minutes of set-up and packing."""
    import logging

    from gateway.http.listeners import listen  # needs nothing but Python
    from gateway.settings import SettingsError, load

    logging.disable()
    try:
        settings = load()
    except SettingsError as error:
        raise CommandError(str(error)) from None
    try:
        for listener in listen(settings):
            listener.close()
    except OSError as error:
        where = f"{settings.bind}:{settings.port}"
        raise CommandError(
            f"cannot listen on {where}: {error.strerror} (choose another with --port)"
        ) from None
    return settings


def _needed_by(archive: Path) -> list[str]:
    """Return the groups that an archive needs besides: torch, where its engine is that."""
    try:
        with zipfile.ZipFile(archive) as packed:
            about = json.loads(packed.read("model/archive.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return []  # the gateway says what is wrong with it
    return [TORCH] if isinstance(about, dict) and about.get("engine") == "torch" else []


def _packed(chosen: Chosen, environment: Environment) -> Path:
    """Return the archive of a checkpoint, packed if it is missing or older than what it is made of.

    Each checkpoint has one of its own, called as ./scripts/package_model calls none by itself, so
    that no archive overwrites another.
    """
    model = chosen.checkpoint
    name = archive_name(model)
    archive = chosen.store / f"{name}.mar"
    if archive.is_file() and not _has_changed(model, archive.stat().st_mtime):
        return archive
    say(f"Packing {Path(model).name}")
    pack = ["-m", "archive", "--model", model, "--name", name, "--replace"]
    pack += ["--output", str(chosen.store)]
    status = processes.run([str(environment.python), *pack])
    if status:
        raise CommandError("", status)  # it has said why
    return archive


def archive_name(model: str) -> str:
    """Return the name of the archive that `serve` keeps for a checkpoint."""
    if model == str(EMBEDDED):
        return f"served-{EMBEDDED.name}"
    plain = re.sub(r"[^A-Za-z0-9]+", "-", Path(model).name)[:LONGEST_NAME]
    return f"served-{plain}-{zlib.crc32(model.encode(errors='surrogateescape'))}"


def _has_changed(model: str, since: float) -> bool:
    files = [file for source in (*SOURCES, model) for file in _files(ROOT / source)]
    files += _files_beside(Path(model))
    return any(file.suffix != ".pyc" and file.stat().st_mtime > since for file in files)


def _files_beside(path: Path) -> Iterator[Path]:
    """What is read beside a checkpoint that is one file: its config, its tokenizer."""
    if path.is_file():
        for pattern in BESIDE:
            yield from (file for file in path.parent.glob(pattern) if file.is_file())


def _files(path: Path) -> Iterator[Path]:
    """The files at or under a path; none where there is nothing (a hub's id)."""
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())

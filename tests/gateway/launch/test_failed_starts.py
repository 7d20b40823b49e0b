"""A start that cannot succeed ends soon, and its last line says why in the words of who failed."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.launch.folders import PREFIX
from gateway.torchserve.last_words import LastWords
from gateway.torchserve.restarts import RepeatedFailure
from tests.gateway.conftest import Service, mounted

MANIFEST = """{"model": {"modelName": "gpt2", "modelVersion": "1.0", "handler": "broken.py"}}"""
# What the handler of an archive does as it is loaded, and what is to be read of it.
HANDLERS = {
    "it says why it ends": ("raise SystemExit('I am not in the mood')", "I am not in the mood"),
    "a package is missing": (
        "import nowhere_at_all",
        "ModuleNotFoundError: No module named 'nowhere_at_all'",
    ),
    "it is no Python": ("def (:", "SyntaxError: "),
    "it fails as it is called": (
        "def handle(data, context):\n    raise RuntimeError('the roof is on fire')",
        "RuntimeError: the roof is on fire",
    ),
    "it crashes": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
        "Fatal Python error: Segmentation fault",
    ),
    "it is killed": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "its worker ended without saying why (is there enough memory?)",
    ),
}
WORDS = {case: words for case, (_, words) in HANDLERS.items()} | {
    "Java takes no such options": "Multiple garbage collectors selected",
    "no manifest": "`gpt2.mar` has no readable MAR-INF/MANIFEST.json",
    "TMPDIR is too small": "set TMPDIR to a larger one",
}
# Each as Cloud Run wants the log, and one of each kind of last line as people read it.
STARTS = [(case, "json") for case in WORDS]
STARTS += [(case, "text") for case in ("it crashes", "no manifest", "Java takes no such options")]
SOON = 90  # seconds, of a busy machine

Ended = Callable[[str, str], list[str]]


def pack(archive: Path, handler: str) -> None:
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("broken.py", handler)
        packed.writestr("MAR-INF/MANIFEST.json", MANIFEST)


@pytest.fixture(scope="module")
def ended(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """The log of a start that failed, by its case and its format; all are started at once."""
    base = tmp_path_factory.mktemp("failing")
    with ExitStack() as stack:
        small = stack.enter_context(mounted(base / "small", "size=5m"))

        def start(case: str, log_format: str) -> list[str]:
            store = base / f"{case} {log_format}"
            temporary = store / "temporary"
            temporary.mkdir(parents=True)
            settings = {"TMPDIR": str(temporary), "LOG_FORMAT": log_format}
            if case in HANDLERS:
                pack(store / "gpt2.mar", HANDLERS[case][0])
            elif case == "no manifest":
                with zipfile.ZipFile(store / "gpt2.mar", "w") as packed:
                    packed.writestr("handler.py", "")
            else:
                store = model_store
            if case == "Java takes no such options":
                settings |= {"PASS_VARIABLES": "JAVA_TOOL_OPTIONS"}
                settings |= {"JAVA_TOOL_OPTIONS": "-XX:+UseParallelGC"}
            if case == "TMPDIR is too small":
                settings["TMPDIR"] = str(small)
            service = Service(store, **settings)
            try:
                assert service.process.wait(SOON) == 1, service.log
            finally:
                service.stop()
            assert not service.printed
            assert not list(temporary.glob(f"{PREFIX}*"))
            return service.log

        with ThreadPoolExecutor(4) as pool:
            started = {each: pool.submit(start, *each) for each in STARTS}
            yield lambda *each: started[each].result()


@pytest.mark.parametrize(("case", "log_format"), STARTS)
def test_it_ends_with_the_words_of_who_failed(ended: Ended, case: str, log_format: str) -> None:
    log = ended(case, log_format)
    assert WORDS[case] in log[-1]
    assert len([line for line in log if "starting it again" in line]) <= 2


def test_only_what_goes_wrong_in_the_same_way_is_counted() -> None:
    failures = RepeatedFailure(3)
    told = ["process 17 died", "no room", "process 18 died", "process 9 died"]
    assert [failures.note(reason) for reason in told] == [False, False, False, True]


def test_what_is_said_last_of_both_streams() -> None:
    words = LastWords()
    script = "echo on standard output; echo torchserve WARN and in the log >&2; echo of it all >&2"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    words.listen_to(process)
    process.wait()
    words.wait_for_end()
    told = words.explain("It ended")
    assert told.startswith("It ended: ")
    assert all(part in told for part in ("on standard output", "and in the log", "of it all"))
    assert "torchserve WARN" not in told

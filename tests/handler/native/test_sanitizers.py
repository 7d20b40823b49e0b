"""The native code under address, undefined-behaviour and thread sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from archive.native_build import LIBRARIES, SOURCES, sources
from tests.handler.native.test_same_bits import DIGESTS, DRIVER

CLANG = shutil.which("clang-19")
FLAGS = ("-std=gnu11", "-O1", "-g", "-fPIC", "-fwrapv", "-ffp-contract=off", "-Wno-psabi", "-I.")


@pytest.mark.skipif(CLANG is None, reason="clang-19 is not installed")
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_nothing_is_read_or_written_where_it_should_not_be(sanitizer: str, tmp_path: Path) -> None:
    assert CLANG is not None
    checks = (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    names = [path.name for path in sources() if path.suffix == ".c"]
    library, driver = tmp_path / "libgpt2.so", tmp_path / "driver"
    for command in (
        ["-shared", "-march=x86-64-v3", "-o", str(library), *names, *LIBRARIES],
        ["-march=x86-64-v3", "-o", str(driver), str(DRIVER), "-ldl", *LIBRARIES],
    ):
        subprocess.run([CLANG, *FLAGS, *checks, *command], cwd=SOURCES, check=True, timeout=200)
    # What the driver made for its models is left to the system at its end.
    environment = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run(
        [driver, library, "3"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == DIGESTS

"""The native engine's libraries and its kernels, built once for all tests."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from archive import native_build
from archive.native_build import FLAGS, LIBRARIES, TARGETS, Command, build_libraries, sources
from handler.engine.native import cpu
from handler.engine.native.library import load_library

HERE = cpu.runnable(cpu.CPUINFO.read_text())


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all pytest workers of a run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "native"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def libraries(shared_folder: Path) -> Path:
    """The folder with the library of each instruction set."""
    with FileLock(shared_folder / "libraries.lock"):
        return build_libraries(lambda _: None)


@pytest.fixture(scope="session", params=HERE)
def library(request: pytest.FixtureRequest, libraries: Path) -> ctypes.CDLL:
    """The library of each instruction set that this machine has."""
    return load_library(libraries / native_build.library_name(request.param))


@pytest.fixture(scope="session")
def native_command(shared_folder: Path) -> Iterator[Command]:
    """The compiler that the libraries are built with."""
    with (
        FileLock(shared_folder / "compiler.lock"),
        native_build.compiler(shared_folder / "compiler", lambda _: None) as command,
    ):
        yield command


@pytest.fixture(scope="session")
def kernels(native_command: Command, shared_folder: Path) -> ctypes.CDLL:
    """The sources as a library that shows every function."""
    target = TARGETS[HERE[0]]
    output = shared_folder / "libkernels.so"
    names = [path.name for path in sources() if path.suffix == ".c"]
    native_command.run(
        *(*FLAGS, "-shared", "-target", target.triple, f"-mcpu={target.cpu}"),
        *("-o", str(output), *names, *LIBRARIES),
    )
    library = ctypes.CDLL(str(output))
    pointer, number, real, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_float, ctypes.c_size_t
    library.layer_norm.argtypes = [pointer, pointer, pointer, number, number, real, pointer]
    library.quantize_row.argtypes = [pointer, number, pointer, pointer, pointer]
    multiplied = [pointer, pointer, number, pointer, size, number, number]
    library.matmul_int8.argtypes = library.matmul_float.argtypes = multiplied
    library.matmul_int4.argtypes = [*multiplied, pointer]
    library.cache_write.argtypes = [pointer, pointer, number, pointer, pointer]
    for name in ("attend_int8", "attend_float"):
        attend = getattr(library, name)
        attend.argtypes = [
            *(pointer, pointer, pointer, size, pointer, size, number, number, real, pointer)
        ]
    for name in ("layer_norm", "quantize_row", "cache_write"):
        getattr(library, name).restype = None
    return library

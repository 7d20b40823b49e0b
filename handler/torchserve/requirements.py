"""Reports missing packages of the archive's requirements.txt in one line of TorchServe's log."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

# In the archive it lies beside the handler, at the root; in the project one folder below that.
PLACES = (Path(__file__).parents[2], Path(__file__).parents[1])
FILE = "requirements.txt"
REMEDY = (
    "Install them beside TorchServe (`pip install -r` the archive's requirements.txt), "
    "or set install_py_dep_per_model=true in its config.properties"
)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Within it what needs packages is imported; where that fails for lack of one, say of which.

    TorchServe takes an ImportError for a handler of its own that does not exist, and says that.
    """
    try:
        yield
    except Exception as error:
        if not _is_of_a_package(error) or not (lacking := unmet()):
            raise
        python = f"Python {platform.python_version()} ({sys.executable})"
        fault = f"The model cannot be served: {python} lacks {', '.join(lacking)}. {REMEDY}."
        print(fault, file=sys.stderr, flush=True)
        sys.exit(1)


def _is_of_a_package(error: BaseException | None) -> bool:
    """Tell whether a package's lack, or its other version, began it.

    TypeError: a package of another time, or Python 3.9 without its backport.
    """
    while error is not None:
        if isinstance(error, (ImportError, AttributeError, TypeError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def unmet() -> list[str]:
    """Requirements that are not installed, or in another version than the archive's ranges have."""
    text = next((file.read_text() for place in PLACES if (file := place / FILE).is_file()), "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [found for line in lines if (found := _fault(line))]


def _fault(line: str) -> str | None:
    # Not above: this module needs nothing itself. TorchServe requires it.
    from packaging.requirements import Requirement

    wanted = Requirement(line)
    if wanted.marker is not None and not wanted.marker.evaluate():
        return None
    plain = f"{wanted.name}{wanted.specifier}"
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return plain
    return None if version in wanted.specifier else f"{plain} (it has {version})"

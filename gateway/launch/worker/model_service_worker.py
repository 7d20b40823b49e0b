"""The program that TorchServe starts as a worker: what it needs first, then TorchServe's own.

Java starts `ts/model_service_worker.py` of its home directory, and gateway/launch/launch.py gives
it a home in which this file has that name. It imports nothing of this project.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import logging
import os
import runpy
import sys
import types
from pathlib import Path
from typing import Any

PROTOCOL = "ts.protocol.otf_message_handler"
# Where a worker says how it crashed: in a file with its process id as its name.
CRASHES_VARIABLE = "GPT2_CRASHES"
# Beside that, a file with this and a number says that TorchServe's worker of that number is
# retired: gateway/torchserve/retired.py.
RETIRED = "retired-"
LOADED = 200


class NoTensor:
    """No value is an instance of it."""


class TorchOnceLoaded(types.ModuleType):
    """What TorchServe's protocol gets for its `import torch`.

    The protocol asks torch whether a reply is a tensor. As long as nothing has loaded torch, no
    value can be one; once a handler has (`engine: torch`), torch itself answers.
    """

    def __getattr__(self, name: str) -> Any:
        torch = sys.modules.get("torch", self)
        if torch is not self:
            return getattr(torch, name)
        if name == "Tensor":
            return NoTensor
        raise AttributeError(f"torch is not loaded, so it has no {name}")


def set_path() -> None:
    """Have Python import from the model's directory, and not from this file's.

    A worker is started in its model's directory. Java puts that on the path too, but cannot spell
    every name a directory may have.
    """
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [*(path for path in sys.path if path != here), os.getcwd()]


def is_retired(arguments: list[str]) -> bool:
    """Whether TorchServe starts this worker though it was told to have another.

    `arguments` hold the worker's number: as `--port 9000`, or as `--sock-name .../.ts.sock.9000`.
    """
    folder = os.environ.get(CRASHES_VARIABLE)
    values = dict(zip(arguments, arguments[1:]))
    place = values.get("--port") or values.get("--sock-name", "")
    return bool(folder) and Path(str(folder), RETIRED + place.rpartition(".")[2]).exists()


def keep_bytecode() -> None:
    """Have the model's code compiled once for this worker and those after it.

    Its folder is removed with TorchServe. Java's environment says that nothing is to be written, so
    that none lies beside this file and TorchServe's own.
    """
    sys.dont_write_bytecode = False


def import_protocol_without_torch() -> None:
    """Import the protocol, with `TorchOnceLoaded` as its torch and as nobody else's.

    torch costs a second of every start and 200 MB of memory, and need not be installed.
    """
    sys.modules["torch"] = TorchOnceLoaded("torch")
    try:
        importlib.import_module(PROTOCOL)
    finally:
        del sys.modules["torch"]


def report_crashes() -> None:
    """Once the model is loaded, have a crash reported in a file, where the gateway looks for it.

    Until then it is said on standard error, and is a reason why the service does not start.
    """
    protocol: Any = sys.modules[PROTOCOL]
    answer = protocol.create_load_model_response

    def answer_and_watch(code: int, message: str) -> Any:
        folder = os.environ.get(CRASHES_VARIABLE)
        if code == LOADED and folder:
            with contextlib.suppress(OSError):
                # Open for as long as this process lives: who crashes can open nothing.
                faulthandler.enable(open(Path(folder, str(os.getpid())), "wb", buffering=0))  # noqa: SIM115
        return answer(code, message)

    protocol.create_load_model_response = answer_and_watch


def report_cause(record: logging.LogRecord) -> bool:
    """Print the first of a chain of exceptions on standard error, which TorchServe's log passes on.

    A worker logs what it dies of on standard output, which no log shows. The exceptions behind the
    first come from looking further.
    """
    error: Any = record.exc_info[1] if record.exc_info else None
    if error is not None:
        while (earlier := error.__cause__ or error.__context__) is not None:
            error = earlier
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return True


def main() -> None:
    """Prepare this process, then be TorchServe's worker until it ends."""
    if is_retired(sys.argv):
        return
    set_path()
    import_protocol_without_torch()
    report_crashes()
    keep_bytecode()
    logging.getLogger().addFilter(report_cause)
    runpy.run_module("ts.model_service_worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

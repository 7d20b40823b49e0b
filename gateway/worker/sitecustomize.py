"""Found by Python in every worker of TorchServe (gateway/launch.py puts it on the path).

glibc reads how memory is to be had as a process begins, and what suits the worker does not suit
Java, from which it has its environment: so the worker begins again, which takes 10 ms.

TorchServe's protocol imports torch, over a second and 150 MB, for one `isinstance` that text never
reaches. Here torch is loaded when something first asks for a name in it: `engine: torch` does.

What a worker dies of it logs on standard output, which no log shows: here its last line goes to
standard error, which TorchServe's log passes on.
"""

import importlib
import importlib.util
import os
import sys
import types
from typing import Any


class LateModule(types.ModuleType):
    """Stands for a module until a name in it, or a part of it, is wanted."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def load_late(name: str) -> None:
    """Have the package `name` loaded on first use; nothing happens where it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is not None:
        sys.modules[name] = LateModule(name)
        # importlib's own loader for this would load the module at any import statement. No
        # __path__: asking for it, as the import of a submodule does, loads the module.
        sys.modules[name].__spec__ = spec


def tell_cause(record: Any) -> bool:
    """Say what the first of a chain of exceptions was; the others come of looking further."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        while error.__cause__ or error.__context__:
            error = error.__cause__ or error.__context__
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return True


def listen_to_the_end() -> None:
    """Have `tell_cause` hear all that the worker logs."""
    import logging

    logging.getLogger().addFilter(tell_cause)


tunables = os.environ.pop("WORKER_GLIBC_TUNABLES", "")
if tunables and "GLIBC_TUNABLES" not in os.environ:
    os.environ["GLIBC_TUNABLES"] = tunables
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
load_late("torch")
listen_to_the_end()

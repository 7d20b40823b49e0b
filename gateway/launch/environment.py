"""The environment of TorchServe and its workers: built from a short list, never inherited.

Java, TorchServe, Log4j, Python, OpenMP, glibc and the dynamic linker all take orders from variables
that a machine may have set for other programs: by `TS_CONFIG_FILE` alone, TorchServe would listen
to everybody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from gateway.paths import ROOT

# What passes, and why.
PASSED = {
    "PATH": "TorchServe looks for the tools of a graphics card on it",
    "HOME": "packages that one user installed lie under it",
    "LD_LIBRARY_PATH": "Pythons of Nix, conda or a cluster's modules find their libraries by it",
    "TZ": "the log has this machine's time",
    "GLIBC_TUNABLES": "memory of Java and the worker",
    "MALLOC_ARENA_MAX": "memory of Java; the image sets it",
    "OPENBLAS_CORETYPE": "NumPy's kernels, where the processor does not say what it is",
    "OPENBLAS_L2_SIZE": "the same",
}

# What passes only if PASS_VARIABLES names it, as a pattern, and what does the same here.
INSTEAD = {
    r"TS_(CONFIG_FILE|MODEL_SERVER_HOME|OPEN_INFERENCE_PROTOCOL|DECODE_INPUT_REQUEST|BENCHMARK)"
    r"|TS_HEADER_KEY_SEQUENCE_\w+|SM_TELEMETRY_LOG": (
        "TorchServe is configured in config.properties, its ports by INFERENCE_PORT, "
        "MANAGEMENT_PORT and METRICS_PORT"
    ),
    r"LOG_LOCATION|LOG4J_\w+": "logs go to standard error, in the format that LOG_FORMAT sets",
    r"METRICS_LOCATION": "metrics are at /metrics",
    r"JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS": "PASS_VARIABLES={name} passes it to Java",
    r"LD_(PRELOAD|AUDIT)": "PASS_VARIABLES={name} passes it on",
    r"MALLOC_\w+": "GLIBC_TUNABLES is passed on",
    r"(OMP|GOMP|KMP)_\w+|(MKL|OPENBLAS|NUMEXPR)_NUM_THREADS|ENGINE_THREADS": (
        "THREADS_PER_REPLICA sets the threads"
    ),
    r"(LOCAL_)?(RANK|WORLD_SIZE)": "REPLICAS sets how many workers there are",
    r"ENABLE_TORCH_PROFILER": "PASS_VARIABLES={name} passes it to the worker",
    r"PYTHON(HOME|PATH|PLATLIBDIR|STARTUP|USERBASE|NOUSERSITE|SAFEPATH|OPTIMIZE|WARNINGS|DEVMODE"
    r"|MALLOC|HASHSEED|INSPECT)": "the worker's Python is this one, with the packages it has",
}


def build(given: Mapping[str, str], also: Collection[str] = ()) -> dict[str, str]:
    """Return what a child gets of the variables `given`: what passes, and what `also` names."""
    return {name: value for name, value in given.items() if name in PASSED or name in also}


def describe_left_out(given: Mapping[str, str], also: Collection[str] = ()) -> Iterator[str]:
    """Yield a line for each variable that would have changed a child and is not passed on."""
    for name, value in given.items():
        if (
            not value
            or name in PASSED
            or name in also
            or (name, value) == ("PYTHONPATH", str(ROOT))
        ):
            continue
        for pattern, instead in INSTEAD.items():
            if re.fullmatch(pattern, name):
                yield f"{name} is not passed on to TorchServe: {instead.format(name=name)}"

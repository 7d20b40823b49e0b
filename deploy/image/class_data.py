"""Makes Java's shared class data (CDS) of TorchServe: class_data.py FILE.

TorchServe is started once with the model, so the build also proves that the service starts. The
classes it loaded are then written as Java maps them into memory, ready parsed and verified.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from gateway.launch import environment
from gateway.launch.launch import TorchServeSettings, find_java, find_torchserve
from gateway.torchserve.process import TorchServe


def write_class_data(target: Path, settings: TorchServeSettings) -> None:
    """Start TorchServe with these settings, list the classes that it loads, and dump them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        classes = Path(directory) / "classes"
        listing = {"JDK_JAVA_OPTIONS": f"-XX:DumpLoadedClassList={classes}"}
        began = time.perf_counter()
        server = TorchServe(replace(settings, environment={**settings.environment, **listing}))
        server.start()
        try:
            server.wait_ready()
        finally:
            server.stop()
        print(f"ready after {time.perf_counter() - began:.1f} s")
        subprocess.run(
            [
                str(find_java()),
                "-Xshare:dump",
                f"-XX:SharedClassListFile={classes}",
                f"-XX:SharedArchiveFile={target}",
                "-Xlog:disable",
                "-Xlog:all=error",
                "-cp",
                f"{find_torchserve() / 'frontend'}/*",
            ],
            env=environment.build(os.environ),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    print(f"{target}: {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    write_class_data(Path(sys.argv[1]), TorchServeSettings(models={"gpt2": "gpt2"}))

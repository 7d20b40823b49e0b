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
from pathlib import Path

from gateway.launch import environment
from gateway.launch.launch import TorchServeSettings, find_java, find_torchserve
from gateway.torchserve.process import TorchServe


def main() -> int:
    """Start, list the classes, dump them; print how long the start took."""
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        classes = Path(directory) / "classes"
        began = time.perf_counter()
        server = TorchServe(
            TorchServeSettings(
                models={"gpt2": "gpt2"},
                environment={"JDK_JAVA_OPTIONS": f"-XX:DumpLoadedClassList={classes}"},
            )
        )
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
    return 0


if __name__ == "__main__":
    sys.exit(main())

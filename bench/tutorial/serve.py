"""Starts TorchServe for the tutorial handler, in the peer's environment, until it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from gateway.launch.launch import find_java, find_torchserve


def main(store: Path) -> int:
    """Run Java with TorchServe's own defaults: as many workers as there are processors."""
    java, package = find_java(), find_torchserve()
    with tempfile.TemporaryDirectory() as temporary:
        command = [
            str(java),
            f"-Dmodel_server_home={package.parent}",
            f"-Dlog4j.configurationFile=file://{Path('config/log4j2.xml').resolve()}",
            f"-Djava.io.tmpdir={temporary}",
            "-cp",
            f"{package / 'frontend'}/*",
            "org.pytorch.serve.ModelServer",
            *("--python", sys.executable),
            *("-f", str(store / "config.properties")),
            *("-s", str(store)),
            *("-ncs", "-m", "gpt2=gpt2.mar"),
        ]
        environment = {
            "PATH": f"{java.parent}:/usr/bin:/bin",
            "JAVA_HOME": str(java.parent.parent),
            "TEMP": temporary,
            "LOG_LOCATION": temporary,
            "METRICS_LOCATION": temporary,
        }
        process = subprocess.Popen(command, cwd=temporary, env=environment)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: process.terminate())
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

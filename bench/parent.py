"""An earlier commit's engine and server, out of a checkout of its own: measured beside today's.

Everything there is done by that checkout's own code, with the packages of this environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.checkpoints import Checkpoint
from bench.environments import SetUpError
from bench.servers import Server

_PACK = """
import json, sys
from pathlib import Path
from bench import archives
from bench.checkpoints import Checkpoint
checkpoint = Checkpoint.of(sys.argv[1], Path(sys.argv[2]))
print(json.dumps(str(archives.pack(checkpoint, "auto", lambda text: None, keep=True))))
"""
_SERVE = """
import json, sys
from pathlib import Path
from bench.servers import ours
with ours(Path(sys.argv[1])) as server:
    print(json.dumps([server.url, server.processes()[0]]), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Parent:
    """A checkout.

    Attributes:
        root: Its folder, as `git worktree add FOLDER COMMIT` makes it.
    """

    root: Path

    def pack(self, checkpoint: Checkpoint, say: Callable[[str], None]) -> Path:
        """Return the folder of its archive of a checkpoint; packed if it is not there.

        Raises:
            SetUpError: It cannot be packed.
        """
        say(f"the parent's archive of {checkpoint.name} ({self.root})")
        done = subprocess.run(
            [sys.executable, "-c", _PACK, checkpoint.name, str(checkpoint.path)],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason was given"]
            raise SetUpError(f"the parent's archive: {lines[-1]}")
        return Path(json.loads(done.stdout.splitlines()[-1]))

    @property
    def environment(self) -> dict[str, str]:
        """What its processes see."""
        return os.environ | {"PYTHONPATH": str(self.root)}

    @contextlib.contextmanager
    def serve(self, home: Path) -> Iterator[Server]:
        """Serve its archive by its own TorchServe.

        Raises:
            SetUpError: It does not start.
        """
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(home)],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdin is not None and process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SetUpError("the parent's TorchServe did not start")
            url, pid = json.loads(line)
            yield Server(url, pid, began, {"prompt": [5, 6], "max_tokens": 1})
        finally:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            process.wait(60)
            if process.stdout is not None:
                process.stdout.close()

"""What the server settles before it serves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.gateway.conftest import ROOT

OPEN_FILES = """
import logging, resource, sys
logging.basicConfig()
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from gateway.http.server import affordable_connections
print(affordable_connections(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("hard", "connections", "files", "warns"), [(4000, 1000, 1320, False), (900, 580, 900, True)]
)
def test_the_bound_of_open_files_is_raised_as_far_as_it_goes(
    hard: int, connections: int, files: int, warns: bool
) -> None:
    command = [sys.executable, "-c", OPEN_FILES, "256", str(hard), "1000"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.split() == [str(connections), str(files)]
    assert ("MAX_CONNECTIONS is 1000" in ended.stderr) is warns

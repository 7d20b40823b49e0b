"""nginx in a folder of its own, without root: in front of instances, here and in tests."""

from __future__ import annotations

import shutil
from pathlib import Path

PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
CONFIGURATION = """\
daemon off;
pid {home}/nginx.pid;
error_log {log};
events {{ worker_connections 512; }}
http {{
  access_log off;
  {paths}
  {http}
}}
"""


def find_nginx() -> str | None:
    """Where it is, if it is installed: Debian keeps it off the PATH of those who are not root."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def nginx_command(program: str, home: Path, http: str) -> list[str]:
    """Write its configuration into a folder, and return the command that runs it there.

    Args:
        program: As `find_nginx` found it.
        home: For all that it writes; in it, nginx.pid says that it runs.
        http: What its block `http` holds.
    """
    paths = "\n  ".join(f"{name}_temp_path {home}/{name};" for name in PATHS)
    log, conf = str(home / "error.log"), home / "nginx.conf"
    conf.write_text(
        CONFIGURATION.format(home=home, log=log, paths=paths, http=http), encoding="utf-8"
    )
    return [program, "-p", str(home), "-c", str(conf), "-e", log]

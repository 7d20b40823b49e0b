"""Looks for known vulnerabilities in the pinned packages: `python -m commands.audit`.

pip-audit, in an environment that is removed again, asks PyPI and OSV about requirements.lock.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from commands.groups import Groups

ROOT = Path(__file__).resolve().parent.parent
PIP_AUDIT = "pip-audit==2.10.1"
SERVICES = ("pypi", "osv")


def main() -> int:
    """Ask both; 1 where a fault is known, or a package is not."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        venv.create(place / "environment", with_pip=True)
        python = str(place / "environment" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", PIP_AUDIT], check=True)
        pins = place / "pins.txt"
        pins.write_text("\n".join(Groups(ROOT).pins.values()) + "\n", encoding="utf-8")
        command = [python, "-m", "pip_audit", "--strict", "--no-deps", "--disable-pip"]
        asked = [*command, "--requirement", str(pins), "--vulnerability-service"]
        found = [_ask([*asked, service], service) for service in SERVICES]
    return int(not all(found))


def _ask(command: list[str], service: str) -> bool:
    """Have pip-audit ask; return whether it was answered, and no fault is known."""
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    said = done.stderr.strip()
    if "Traceback (most recent call last)" in said:
        said = f"error: {service} could not be asked: {said.splitlines()[-1][:300]}"
    if said:
        print(said, file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())

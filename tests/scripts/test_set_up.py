"""Set-up: what is installed, from where, and what a user is told if it cannot be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.conftest import free_ports
from tests.gateway.conftest import mounted
from tests.patience import PATIENCE
from tests.scripts.conftest import REAL_PYTHON, Checkout


@pytest.fixture
def cpu_index() -> Iterator[str]:
    """An index of CPU builds that can be reached."""

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/cpu/torch/" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/cpu"
        server.shutdown()
        thread.join()


@pytest.fixture
def no_index() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}/cpu"


def test_no_network_is_one_clear_line(checkout: Checkout, no_index: str) -> None:
    # A real pip, with a version to fetch that no machine has.
    python = checkout.root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (checkout.root / "requirements.lock").write_text("pip==0.0.99\ntorch==2.0.0\n")
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_INDEX_URL": no_index}
    ended = checkout.serve(**pip)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert "is there a network?" in lines[-1] and ".venv/install.log" in lines[-1]
    assert "0.0.99" in (checkout.root / ".venv" / "install.log").read_text()
    assert not (checkout.root / ".venv" / ".stamp").exists()


def test_too_small_a_disk_is_said_before_anything_is_fetched(checkout: Checkout) -> None:
    checkout.has_python("python3.11", f'#!/usr/bin/env bash\nexec "{REAL_PYTHON}" "$@"\n')
    with mounted(checkout.root / ".venv", "size=2m"):
        ended = checkout.serve()
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: too little space on the disk of ")
    assert " MB are needed, 2 MB are free" in line
    assert not checkout.asked


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("OSError: [Errno 28] No space left on device", "no space is left on the disk"),
        ("OSError: [Errno 13] Permission denied: '/x'", "cannot be written: Permission denied"),
        ("OSError: [Errno 30] Read-only file system: '/x'", "cannot be written: Read-only"),
        ("Missing dependencies for SOCKS support.", "pip reaches no SOCKS proxy; unset ALL_PROXY"),
    ],
)
def test_what_pip_says_decides_what_to_look_at(checkout: Checkout, said: str, cause: str) -> None:
    python = checkout.root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/usr/bin/env bash\n"
        f'[[ "$*" == *" install "* ]] && {{ echo "ERROR: Could not install: {said}"; exit 1; }}\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    ended = checkout.serve()
    assert ended.returncode == 1
    assert cause in ended.stderr.splitlines()[-1] and "network" not in ended.stderr


@pytest.mark.parametrize("ends", ["2>&-", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_set_up_that_nobody_hears_goes_on(checkout: Checkout, ends: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"./scripts/serve {ends}"],
        cwd=checkout.root,
        env={"PATH": str(checkout.tools), "HOME": str(checkout.root)},
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    assert checkout.asked_for("pip install") and checkout.asked_for("gateway")


def test_a_pip_that_was_killed_is_no_lack_of_network(checkout: Checkout) -> None:
    python = checkout.root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/usr/bin/env bash\n"
        '[[ "$*" == *" install "* ]] && kill -9 $$\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    ended = checkout.serve()
    assert ended.returncode == 1 and "network" not in ended.stderr
    assert "pip was ended by SIGKILL" in ended.stderr.splitlines()[-1]


def test_a_path_that_python_takes_none_in(checkout: Checkout) -> None:
    checkout.has_python("python3.11", f'#!/usr/bin/env bash\nexec "{REAL_PYTHON}" "$@"\n')
    checkout.root = checkout.root.rename(checkout.root.with_name("check:out"))
    ended = checkout.serve()
    assert ended.returncode == 1
    assert "a ':' in its path" in ended.stderr.splitlines()[-1]


@pytest.fixture
def torch_archive(checkout: Checkout) -> str:
    """An archive of `engine: torch`."""
    archive = checkout.root / "torch.mar"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("model/archive.json", json.dumps({"engine": "torch"}))
    return str(archive)


def test_torch_comes_for_the_archives_that_need_it_alone(
    checkout: Checkout, torch_archive: str, cpu_index: str
) -> None:
    assert checkout.serve(TORCH_INDEX_URL=cpu_index).returncode == 0
    assert not [line for line in checkout.asked if "torch==" in line]
    ended = checkout.serve("--model", torch_archive, TORCH_INDEX_URL=cpu_index)
    assert ended.returncode == 0
    assert [line for line in checkout.asked if "torch==" in line]
    assert ended.stderr.startswith("Setting up .venv for torch: ")


def test_the_pinned_torch_stays_whatever_its_build(
    checkout: Checkout, torch_archive: str, cpu_index: str
) -> None:
    checkout.has_torch("{pinned}+cpu")
    ended = checkout.serve("--model", torch_archive, TORCH_INDEX_URL=cpu_index)
    assert ended.returncode == 0
    installs = checkout.asked_for("pip install")
    assert not [line for line in installs if f"--index-url {cpu_index}" in line]
    assert [line for line in checkout.asked if "torch==" in line]


def test_a_torch_of_another_version_is_replaced_from_the_index_of_cpu_builds(
    checkout: Checkout, torch_archive: str, cpu_index: str
) -> None:
    checkout.has_torch("1.13.1+cpu")
    ended = checkout.serve("--model", torch_archive, TORCH_INDEX_URL=cpu_index)
    assert ended.returncode == 0
    installs = [line for line in checkout.asked_for("pip install") if "--dry-run" not in line]
    [torch] = [line for line in installs if "--index-url" in line]
    [groups] = [line for line in installs if "torchserve==" in line]
    assert f"--index-url {cpu_index} torch==" in torch
    # Before anything that depends on it, or pip would choose the build.
    assert installs.index(torch) < installs.index(groups)


def test_a_torch_of_another_version_does_not_become_a_cuda_build(
    checkout: Checkout, torch_archive: str, no_index: str
) -> None:
    checkout.has_torch("1.13.1+cpu")
    # As long as a real report: longer than a pipe holds.
    metadata = {"name": "torch", "version": "2.0", "requires_dist": ["nvidia-cublas==13.0"]}
    report = json.dumps({"install": [{"metadata": metadata}]})
    (checkout.root / "report").write_text(report + "\n" * 300_000)
    ended = checkout.serve("--model", torch_archive, TORCH_INDEX_URL=no_index)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: only a CUDA build of torch==") and "TORCH_INDEX_URL" in last
    assert not [line for line in checkout.asked if "torchserve==" in line]


def test_another_version_of_a_package_is_installed_by_whom_it_serves_alone(
    checkout: Checkout,
) -> None:
    assert checkout.serve().returncode == 0
    lock = checkout.root / "requirements.lock"
    for pin, times in (("matplotlib==0.0.1", 1), ("numpy==0.0.1", 2)):
        name = pin.partition("==")[0]
        lock.write_text(re.sub(rf"^{name}==\S+", pin, lock.read_text(), flags=re.MULTILINE))
        ended = checkout.serve()
        assert ended.returncode == 0
        assert len([line for line in checkout.asked if "torchserve==" in line]) == times
    assert "Bringing .venv up to date for serve, package\n" in ended.stderr

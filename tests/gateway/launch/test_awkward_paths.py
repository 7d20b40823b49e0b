"""The service stands wherever it is put: in folders with any name, of any length, on any mount."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.launch.escapes import java_pattern, java_property
from gateway.launch.folders import MARK, PREFIX, Folder, clear_dead
from tests.gateway.conftest import ROOT, Service, StartService, mounted
from tests.patience import PATIENCE

# What a name may hold: on Linux everything but a slash and a NUL. Several kinds in one name, since
# each name is a start; what breaks one is found by leaving out the others.
AWKWARD = {
    "letters beyond ASCII": "josé ñandú, 模型 🦊 кот, jose\u0301",
    "Latin-1 bytes": os.fsdecode("josé".encode("latin-1")),
    "escapes": r"back\slash\u0041\new a #b 100% %41 %zz " + 'it\'s "quoted" `so`',
    "the shell's and Java's": "$HOME $$HOME$$ ${HOME} $(id) (a) [b] {c} <d>",
    "marks": "a=b,c;d&e|f!g?h*i~j^k@l+m",
    "colon": "a:b",
    "dots and line feeds": "a..b two\nlines\tand a tab",
}
# Python makes no environment in a path with a colon; a name that is not UTF-8 Java cannot hold.
NOT_FOR_A_CHECKOUT = ("colon", "Latin-1 bytes")
PARTS = ("gateway", "handler", "config", "config.properties")
AT_ONCE = 4

Outcomes = dict[str, Future[int]]


def make_environment(place: Path) -> Path:
    """Make an environment of Python that has the packages of this one; return its Python."""
    (place / "lib").mkdir(parents=True)
    for name in ("bin", "pyvenv.cfg", f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"):
        (place / name).symlink_to(Path(sys.prefix, name))
    return place / Path(sys.executable).relative_to(sys.prefix)


def copy_checkout(place: Path) -> tuple[Path, Path]:
    """Copy what serves to a folder; return it and the Python of its environment."""
    place.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, place / part)
    return place, make_environment(place / ".venv")


@pytest.fixture(scope="module")
def outcomes(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """What a service answers of which checkout, store, archive and TMPDIR are called so."""

    def serve(letters: str) -> int:
        name, base = AWKWARD[letters], tmp_path_factory.mktemp("odd")
        store, temporary = base / f"store {name}", base / f"temporary {name}"
        store.mkdir()
        temporary.mkdir()
        archive = store / f"{name}.mar"
        shutil.copy(model_store / "gpt2.mar", archive)
        root, python = ROOT, Path(sys.executable)
        if letters not in NOT_FOR_A_CHECKOUT:
            root, python = copy_checkout(base / f"checkout {name}")
        service = Service(
            store,
            root=root,
            python=python,
            MODEL_ARCHIVE=archive.name,
            TMPDIR=str(temporary),
            PYTHONPATH=str(root),
            LC_ALL="C",
        )
        try:
            return service.wait_ready().complete(max_tokens=2).status_code
        finally:
            service.stop()
            assert not list(temporary.glob(f"{PREFIX}*"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {letters: pool.submit(serve, letters) for letters in AWKWARD}


@pytest.mark.parametrize("letters", AWKWARD)
def test_it_serves_from_folders_with_any_letters(outcomes: Outcomes, letters: str) -> None:
    assert outcomes[letters].result() == 200


@contextmanager
def taken_ports(*ports: int) -> Iterator[None]:
    """Have somebody else listen there, as php-fpm does on 9000."""
    sockets = []
    for port in ports:
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(("127.0.0.1", port))
            held.listen()
        except OSError:  # somebody does already
            held.close()
            continue
        sockets.append(held)
    try:
        yield
    finally:
        for held in sockets:
            held.close()


def test_a_long_folder_for_temporary_files(tmp_path: Path, start_service: StartService) -> None:
    temporary = tmp_path.joinpath(*["batch-system"] * 8, "x" * 200)
    temporary.mkdir(parents=True)
    service = start_service(TMPDIR=str(temporary))
    assert service.complete(max_tokens=2).status_code == 200
    models = list(temporary.glob(f"{PREFIX}*/models"))
    assert models, "what is large lies where TMPDIR says"
    service.stop()
    assert not list(temporary.iterdir())


def test_a_folder_that_holds_no_programs(tmp_path: Path, start_service: StartService) -> None:
    """Two copies, and others on the ports that TorchServe would take by itself."""
    with mounted(tmp_path / "noexec", "noexec,size=200m") as temporary, taken_ports(9000, 9001):
        for service in [start_service(ready=False, TMPDIR=str(temporary)) for _ in range(2)]:
            assert service.wait_ready().complete(max_tokens=2).status_code == 200
            assert has_sockets(service)
            service.stop()


def test_no_folder_at_all_that_holds_programs(
    tmp_path: Path, model_store: Path, start_service: StartService
) -> None:
    """Workers take free ports, each copy its own."""
    python = make_environment(tmp_path / "environment")
    (tmp_path / "environment" / "lib" / "netty").touch()  # nothing can be kept there
    with mounted(tmp_path / "noexec", "noexec,size=200m") as temporary, taken_ports(9000, 9001):
        services = [Service(model_store, python=python, TMPDIR=str(temporary)) for _ in range(2)]
        try:
            for service in services:
                assert service.wait_ready().complete(max_tokens=2).status_code == 200
                assert not has_sockets(service)
        finally:
            for service in services:
                service.stop()


def has_sockets(service: Service) -> bool:
    """Whether its worker listens on a socket in a folder that is its user's alone."""
    [worker] = service.workers()
    command = worker.cmdline()
    if "--sock-name" not in command:
        return False
    socket_path = Path(command[command.index("--sock-name") + 1])
    assert socket_path.parent.stat().st_mode & 0o777 == 0o700
    return True


def test_what_a_killed_one_left_is_cleared_at_the_next_start(
    tmp_path: Path, start_service: StartService
) -> None:
    others = tmp_path / f"{PREFIX}of-an-older-version"
    others.mkdir()
    killed, alive = (start_service(TMPDIR=str(tmp_path)) for _ in range(2))
    [dead] = folders_of(killed)
    [living] = folders_of(alive)
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    assert dead.exists() and living.exists()
    start_service(TMPDIR=str(tmp_path))
    assert not dead.exists()
    assert living.exists() and others.exists()
    assert alive.complete(max_tokens=2).status_code == 200


def folders_of(service: Service) -> set[Path]:
    """Where its worker has its files."""
    return {Path(worker.environ()["TMPDIR"]) for worker in service.workers()}


def test_a_folder_is_its_owners_until_he_lets_go_of_it(tmp_path: Path) -> None:
    mine = Folder(tmp_path)
    clear_dead(tmp_path)
    assert (mine.path / MARK).exists()
    assert mine.path.stat().st_mode & 0o777 == 0o700
    mine.remove()
    assert not list(tmp_path.iterdir())


def test_nothing_outside_is_cleared_by_way_of_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / MARK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    clear_dead(tmp_path)
    assert (precious / MARK).exists()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("/plain/path-1.0_a", "/plain/path-1.0_a"),
        ("josé", r"jos\u00e9"),
        ("🦊", r"\ud83e\udd8a"),
        (r"a\b", r"a\\b"),
        (" a\n", r"\u0020a\u000a"),
    ],
)
def test_a_value_in_a_properties_file(text: str, written: str) -> None:
    assert java_property(text) == written


def test_a_pattern_fits_its_path_alone() -> None:
    assert java_pattern(Path("/a.b/$$c$$")) == r"/a\.b/\$\$c\$\$"


def test_a_checkout_whose_name_java_cannot_hold_is_one_clear_line(
    model_store: Path, tmp_path: Path
) -> None:
    root, python = copy_checkout(tmp_path / AWKWARD["Latin-1 bytes"])
    names = {"MODEL_STORE": str(model_store), "PORT": "0", "PYTHONPATH": os.fspath(root)}
    done = subprocess.run(
        [python, "-m", "gateway"],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | names,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "jos\\xe9/" in last and "not UTF-8; move it elsewhere" in last

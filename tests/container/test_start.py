"""How it starts: any port, any user, read-only, within what it is given."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

from commands.image import TESTING
from tests.archive.fake_hub import hub
from tests.conftest import EMBEDDED_MODEL, ROOT
from tests.container.conftest import Contract, StartContainer
from tests.container.container import Clients, Container, own_cpus
from tests.container.running import podman

SERVICE = ROOT / "deploy" / "cloudrun" / "service.yaml"
# The old service's two lines, letter by letter.
NAME = "text-generator-gpt2"
BUILD = f"docker build --tag {NAME} ."
RUN = f"docker run --name {NAME} --env-file=.env -p 8080:8080 {NAME}"
OFFICIAL_BASE = "docker.io/library/python:3.11-slim-bookworm"
DEBIAN_BASE = "localhost/debian-python:bookworm"
PODMAN_FAILED = (125, 126, 127)
MOST_TMP_MEGABYTES = 16
# Mounts that can be written and hold no files: the kernel's, and devices.
NO_FILES = ("proc", "devpts", "mqueue", "cgroup", "cgroup2")
MOST_JAVA_THREADS = 60
# What the engine takes for keys and values, in its own words.
CACHE = """
import sys
sys.path.insert(0, "/app/model_store/gpt2")
import yaml
from handler.engine.settings import EngineSettings
engine = yaml.safe_load(open("/app/model_store/gpt2/model-config.yaml"))["engine"]
print(EngineSettings.from_mapping(engine).cache_bytes)
"""


def test_it_is_ready_within_the_startup_probe(start: StartContainer, contract: Contract) -> None:
    template = yaml.safe_load(SERVICE.read_text())["spec"]["template"]
    probe = template["spec"]["containers"][0]["startupProbe"]
    allowed = probe["failureThreshold"] * probe["periodSeconds"]
    seconds = start().wait_ready()
    contract.point(f"ready within the startup probe ({allowed} s)", f"{seconds:.1f} s")
    assert seconds < allowed


def test_it_listens_on_the_port_it_is_given(start: StartContainer, contract: Contract) -> None:
    ports = (80, 8080, 34567)
    for port in ports:
        container = start("--sysctl", "net.ipv4.ip_unprivileged_port_start=0", port=port)
        container.wait_ready()
        assert container.complete().status_code == 200
        container.remove()
    contract.point("listens on 0.0.0.0:$PORT", f"PORT = {', '.join(map(str, ports))}")


@dataclass(frozen=True)
class Built:
    """The image of the old service's first line, and how long that took."""

    seconds: float
    size: int
    labels: dict[str, str]


def image_id(name: str) -> str:
    """The image of that name; nothing if there is none."""
    return podman("image", "inspect", "--format", "{{.Id}}", name, check=False)


@pytest.fixture(scope="module")
def built(image: str) -> Iterator[Built]:
    """The first of the two lines, by buildah: told of the network alone.

    The base that the line means is Debian's here, and the hub that it asks is one of ours, with the
    embedded model under the name of GPT-2.
    """
    verb, *words, context = shlex.split(BUILD.removeprefix("docker "))
    network = os.environ["GPT2_BUILD_NETWORK"].splitlines()
    names = {name: image_id(name) for name in (NAME, OFFICIAL_BASE)}
    if not names[OFFICIAL_BASE]:
        podman("tag", DEBIAN_BASE, OFFICIAL_BASE)
    files = {path.name: path.read_bytes() for path in EMBEDDED_MODEL.iterdir() if path.is_file()}
    try:
        with hub("openai-community/gpt2", files) as server:
            began = time.monotonic()
            network += ["--build-arg", f"HF_ENDPOINT={server.url}"]
            command = ["buildah", verb, "--isolation", "chroot", "--format", "docker", "--layers"]
            done = subprocess.run(
                [*command, *words, *network, context],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            seconds = time.monotonic() - began
        assert done.returncode == 0, done.stdout[-2000:]
        [facts] = json.loads(podman("image", "inspect", NAME))
        yield Built(seconds, facts["Size"], facts["Labels"])
    finally:
        made = image_id(NAME)
        for name, before in names.items():
            if before:
                podman("tag", before, name)
            elif image_id(name):
                podman("untag", image_id(name), name)
        if made not in ("", image, names[NAME]):
            podman("rmi", "--force", made, check=False)


@pytest.mark.timeout(1200)
def test_the_first_line_of_the_old_service_works(built: Built, contract: Contract) -> None:
    page = (ROOT / "docs" / "container.md").read_text(encoding="utf-8")
    assert page.split("```")[1].strip().splitlines() == [BUILD, RUN]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # Nobody told it: the Dockerfile says so itself.
    assert built.labels["org.opencontainers.image.version"] == project["version"]
    contract.point(
        f"`{BUILD}` (by buildah, packages from cached layers)",
        f"{built.size / 1e6:.0f} MB in {built.seconds:.0f} s",
    )


@pytest.mark.timeout(1200)
def test_the_second_line_of_the_old_service_works(built: Built, contract: Contract) -> None:
    words = shlex.split(RUN)[2:]
    at = words.index("-p")
    assert words[: at + 2] == ["--name", NAME, "--env-file=.env", "-p", "8080:8080"]
    options = (f"--env-file={ROOT / '.env'}",)
    missing = "" if is_free(8080) else "port 8080 is taken"
    with contextlib.ExitStack() as stack:
        if not missing:
            container = Container(NAME, *options, strict=False, name=NAME, publish=True)
            stack.callback(container.remove)
            try:
                container.wait_ready()
            except AssertionError:
                if container.is_running or container.wait_end() not in PODMAN_FAILED:
                    raise
                missing = container.log[-1]
        if missing:
            stack.close()
            container = Container(NAME, *options, strict=False, name=NAME)
            stack.callback(container.remove)
            container.wait_ready()
        about = container.path("/app/model_store/gpt2/model/archive.json").read_text()
        assert json.loads(about)["checkpoint"] == "openai-community/gpt2"
        # The old service's own request.
        reply = requests.post(
            f"{container.url}/generate", json={"input": "Once upon a time"}, timeout=60
        )
    assert reply.text.startswith('{"version": "v1.0.0", "body": {"query": "Once upon a time"')
    contract.point(
        f"`{RUN}` (by podman), POST /generate",
        f"{len(reply.text)} bytes" + (f"; without -p: {missing}" if missing else ""),
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def test_what_the_contract_needs_is_told_at_once(tmp_path: Path, contract: Contract) -> None:
    """`./scripts/image --test` names what is missing in one line, and builds nothing."""
    absent = ("nginx", "ip", "redis-server")
    have = tmp_path / "bin"
    have.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).glob("*"):
            if program.name not in absent and not (have / program.name).exists():
                (have / program.name).symlink_to(program)
    # Where Debian has these, they must not be found this once.
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(ROOT / "commands", tmp_path / "commands")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    module = tmp_path / "commands" / "image.py"
    module.write_text(module.read_text().replace('("/usr/sbin", "/sbin")', "()"))
    done = subprocess.run(
        [str(tmp_path / "scripts" / "image"), "--test"],
        env={"PATH": str(have), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = "apt-get install nginx redis-server iproute2"
    said = f"error: not installed: nginx redis-server ip (Debian: {wanted})\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    page = (ROOT / "docs" / "container.md").read_text(encoding="utf-8")
    packages = set(TESTING.values())
    [told] = [line for line in page.splitlines() if "apt-get install" in line]
    assert packages == set(told.partition("apt-get install ")[2].partition("`")[0].split())
    contract.point("what the contract needs is named in one line", f"{len(packages)} packages")


def test_any_user_may_run_it(start: StartContainer, contract: Contract) -> None:
    container = start("--user", "54321:12345")
    container.wait_ready()
    assert container.complete().status_code == 200
    owner = Path(f"/proc/{container.worker.pid}").stat().st_uid
    contract.point("any uid", f"worker runs as {owner}")
    assert owner == 54321


def test_it_writes_only_to_tmp_and_little(container: Container, contract: Contract) -> None:
    Clients(container, 4, max_tokens=40).wait()
    mounts = container.mounts()
    assert "ro" in mounts["/"].options and "rw" not in mounts["/"].options
    writable = {
        point
        for point, mount in mounts.items()
        if "rw" in mount.options and mount.kind not in NO_FILES
    }
    # Of these only /tmp holds a byte: the others are devices, and shared memory that nobody takes.
    held = {point: bytes_in(container.path(point)) for point in writable}
    contract.point(
        "read-only but for /tmp, and little there",
        f"/ is mounted ro; {held['/tmp'] / 1e6:.1f} MB in /tmp, "
        f"{sum(held.values()) - held['/tmp']} bytes in the {len(held) - 1} other writable mounts",
    )
    assert [point for point, size in held.items() if size] == ["/tmp"], held
    assert held["/tmp"] < MOST_TMP_MEGABYTES * 1e6
    assert container.execute("touch", "/app/file").returncode != 0
    assert container.execute("touch", "/tmp/file").returncode == 0


def bytes_in(path: Path) -> int:
    """Bytes taken in the file system there, by files that are open and have no name too.

    A device that is mounted over a file (as podman hides some of /proc) takes none.
    """
    if not path.is_dir():
        return 0 if path.is_char_device() else path.stat().st_size
    facts = os.statvfs(path)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


@pytest.mark.parametrize("platform", ["cloudrun", "knative"])
def test_every_probe_is_answered(
    platform: str, start: StartContainer, unready: Container, contract: Contract
) -> None:
    service = yaml.safe_load((ROOT / "deploy" / platform / "service.yaml").read_text())
    [of] = service["spec"]["template"]["spec"]["containers"]
    # Probes carry no key.
    ready = start(API_KEYS="alice:alice-key-0123456789", METRICS_ACCESS="key")
    ready.wait_ready()
    found = {}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if name in of:
            asked = of[name]["httpGet"]
            assert asked["port"] == of["ports"][0]["containerPort"] == ready.port
            timeout = of[name]["timeoutSeconds"]
            found[name] = tuple(
                container.get(asked["path"], timeout=timeout).status_code
                for container in (ready, unready)
            )
    contract.point(
        f"probes of {platform}/service.yaml: ready, not ready",
        ", ".join(f"{name} {well} and {ill}" for name, (well, ill) in found.items()),
    )
    assert found.pop("livenessProbe") == (200, 200)
    assert found and set(found.values()) == {(200, 503)}


def test_threads_follow_the_processors(start: StartContainer, contract: Contract) -> None:
    worker, java, counted = [], [], []
    for cpus in ("1", "2"):
        container = start("--cpus", cpus)
        container.wait_ready()
        Clients(container, 8, max_tokens=40).wait()
        worker.append(container.worker.num_threads())
        java.append(container.torchserve.num_threads())
        program = container.torchserve.cmdline()[0]
        said = container.execute(program, "-XshowSettings:system", "-version").stderr
        counted.append(int(said.partition("Effective CPU Count:")[2].split()[0]))
        container.remove()
    contract.point(
        "threads follow the processors",
        f"worker has {worker[0]} threads on 1 processor, {worker[1]} on 2; Java counts "
        f"{counted[0]} and {counted[1]}, and has {java[0]} and {java[1]} threads",
    )
    assert worker[1] - worker[0] == min(2, own_cpus()) - 1
    assert max(java) <= MOST_JAVA_THREADS
    assert counted == [1, min(2, own_cpus())]


def test_heap_and_cache_fit_the_memory(start: StartContainer, contract: Contract) -> None:
    found = []
    for gibibytes in (1, 2):
        limit = gibibytes << 30
        container = start("--memory", str(limit), "--memory-swap", str(limit))
        container.wait_ready()
        [heap] = [word for word in container.torchserve.cmdline() if word.startswith("-Xmx")]
        assert heap.endswith("m")
        inside = container.execute("python", "-c", CACHE)
        assert inside.returncode == 0, inside.stderr
        cache = int(inside.stdout)
        taken = (int(heap[4:-1]) << 20) + cache
        found.append(f"{gibibytes} GiB: Java {heap}, cache {cache >> 20} MiB")
        container.remove()
        # The rest is for the model, Python and Java itself: see the peak with every slot full.
        assert cache <= limit // 2 and taken <= 0.8 * limit, found
    contract.point("heap and cache fit the memory", "; ".join(found))


def test_a_full_house_stays_within_its_memory(
    start: StartContainer, small: Path, contract: Contract
) -> None:
    container = start("--volume", f"{small}:/app/model_store:ro")
    container.wait_ready()
    # Every slot taken, every context full.
    ends = Clients(container, 4, n=8, max_tokens=124, prompt=[1] * 900).wait(200)
    assert all(end.finish == "length" for end in ends), ends
    peak = container.memory_peak() / 2**20
    contract.point("32 full contexts of GPT-2 small within 2 GiB", f"peak {peak:.0f} MiB")
    assert peak < 2048

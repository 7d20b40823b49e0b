"""How it starts: any port, any user, read-only, within what it is given."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.container.conftest import Contract, StartContainer
from tests.container.container import Clients, Container, own_cpus

SERVICE = ROOT / "deploy" / "cloudrun" / "service.yaml"
MOST_TMP_MEGABYTES = 16
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


def test_the_two_lines_of_the_old_service_work(start: StartContainer, contract: Contract) -> None:
    container = start("--env-file", str(ROOT / ".env"), strict=False)
    container.wait_ready()
    # The old service's own request.
    done = subprocess.run(
        ["curl", "-sS", "-X", "POST", f"{container.url}/generate", "-H"]
        + ["Content-Type: application/json", "-d", '{"input": "Once upon a time"}'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith('{"version": "v1.0.0", "body": {"query": "Once upon a time"')
    contract.point("docker run --env-file=.env, POST /generate", f"{len(done.stdout)} bytes")


def test_any_user_may_run_it(start: StartContainer, contract: Contract) -> None:
    container = start("--user", "54321:12345")
    container.wait_ready()
    assert container.complete().status_code == 200
    owner = Path(f"/proc/{container.worker.pid}").stat().st_uid
    contract.point("any uid", f"worker runs as {owner}")
    assert owner == 54321


def test_it_writes_only_to_tmp_and_little(container: Container, contract: Contract) -> None:
    # --read-only: a write elsewhere would have been refused.
    Clients(container, 4, max_tokens=40).wait()
    temporary = Path(f"/proc/{container.pid}/root/tmp")
    written = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file()) / 1e6
    contract.point("read-only but for /tmp, and little there", f"{written:.1f} MB in /tmp")
    assert written < MOST_TMP_MEGABYTES
    assert container.execute("touch", "/app/file").returncode != 0


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

"""./scripts/deploy itself, against a stand-in for `gcloud`; the service is a stand-in too.

With the real container behind it: test_rollout.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import context, plan, smoke
from deploy.settings import GIBIBYTES, DeployError, Settings
from tests.conftest import ROOT
from tests.container.cloud import TOKEN, Cloud, Front, front
from tests.container.conftest import Contract

BUILDER = "gpt2-build@my-project.iam.gserviceaccount.com"
RUNTIME = "gpt2-runtime@my-project.iam.gserviceaccount.com"

# Python where ./scripts/deploy sets itself up: no package is fetched, what was is written down.
PYTHON = """\
#!/bin/bash
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install"*) echo "$*" >>"$(dirname "$0")/../installed" ;;
  "-m pip"*) ;;
  *) exec -a "$0" {python} "$@" ;;
esac
"""


@pytest.fixture
def service() -> Iterator[Front]:
    with front(Front()) as made:
        yield made


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the script reads, so that its models can be changed."""
    copy = tmp_path_factory.mktemp("root")
    for path in context.files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    for name in ("deploy", "client"):
        shutil.copytree(ROOT / name, copy / name, dirs_exist_ok=True)
    shutil.copy(ROOT / ".dockerignore", copy)
    (copy / "training-runs").mkdir()
    return copy


@pytest.fixture
def cloud(tmp_path: Path, service: Front, root: Path) -> Cloud:
    return Cloud(tmp_path, service.url, root)


def test_another_key_is_another_version_and_another_revision(
    cloud: Cloud, keys: tuple[str, ...]
) -> None:
    words = ("--public", *keys, "--yes")
    done = cloud.deploy(*words)
    assert done.returncode == 0, done.stderr
    assert sum("versions add" in call for call in cloud.calls()) == 2
    first = cloud.service()
    assert cloud.deploy(*words).returncode == 0
    assert sum("versions add" in call for call in cloud.calls()) == 0
    assert cloud.service() == first, "nothing changed, but another revision is rolled out"
    Path(keys[1]).write_text("alice:another-key-0123456789\n")
    assert cloud.deploy(*words).returncode == 0
    assert sum("versions add" in call for call in cloud.calls()) == 1
    assert cloud.service() != first, "running instances would keep the old key"


def test_a_changed_model_is_built_and_rolled_out(cloud: Cloud) -> None:
    model = cloud.root / "models" / "mine"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"one")
    words = ("--public", "--yes", "--model", str(model))
    assert cloud.deploy(*words).returncode == 0
    first, calls = image(cloud), cloud.calls()
    assert any("_MODEL=models/mine," in call for call in calls)
    assert cloud.deploy(*words).returncode == 0
    assert image(cloud) == first
    assert not any("builds submit" in call for call in cloud.calls())
    # Trained again, whatever git knows of it.
    (model / "model.safetensors").write_bytes(b"two")
    assert cloud.deploy(*words).returncode == 0
    assert any("builds submit" in call for call in cloud.calls())
    assert image(cloud) != first


def image(cloud: Cloud) -> str:
    name = str(cloud.service()["spec"]["template"]["spec"]["containers"][0]["image"])
    assert "@sha256:" in name
    return name


@pytest.mark.parametrize(
    "model",
    ["models/no-such-model", "training-runs", "../elsewhere", ".", "models", "a/b/c"],
)
def test_a_model_that_the_build_would_not_find_is_refused(model: str, cloud: Cloud) -> None:
    done = cloud.deploy("--model", model, "--yes")
    assert done.returncode == 1 and "error: --model" in done.stderr, done.stderr
    assert cloud.calls() == []


@pytest.mark.parametrize("access", ["public", "private"])
def test_a_dry_run_prints_every_command_and_calls_none(
    access: str, cloud: Cloud, service: Front, keys: tuple[str, ...], contract: Contract
) -> None:
    words = ("--public", *keys) if access == "public" else keys[2:]
    service.token = "" if access == "public" else TOKEN
    dry = cloud.deploy(*words, "--dry-run")
    assert dry.returncode == 0 and cloud.calls() == []
    printed = [
        " ".join(shlex.split(part, comments=True))
        for line in dry.stdout.splitlines()
        if not line.startswith("#")
        for part in line.split(" || ")
    ]
    real = cloud.deploy(*words, "--yes")
    assert real.returncode == 0, real.stderr
    calls = [f"gcloud {call}" for call in cloud.calls()]
    assert len(calls) > 15
    for call in calls:
        named = [w if not w.endswith("service.yaml") else "FILE" for w in call.split()]
        assert any(
            named == [w if not w.endswith("service.yaml") else "FILE" for w in line.split()]
            for line in printed
        ), call
    asked = {path for path, _ in service.seen}
    for path in asked - {"/v1/completions"}:
        assert any(line.startswith("curl") and line.endswith(path) for line in printed), path
    assert any("./scripts/gpt2" in line for line in printed)
    contract.point(f"a dry run prints all that a real run does, {access}", f"{len(calls)} commands")


def test_build_and_service_have_accounts_that_may_do_what_they_must_and_no_more(
    cloud: Cloud, keys: tuple[str, ...]
) -> None:
    assert cloud.deploy("--public", *keys, "--yes").returncode == 0
    calls = cloud.calls()
    build = next(call for call in calls if call.startswith("builds submit"))
    assert f"--service-account=projects/my-project/serviceAccounts/{BUILDER}" in build
    assert any("iam.googleapis.com" in call for call in calls)
    assert cloud.service()["spec"]["template"]["spec"]["serviceAccountName"] == RUNTIME
    # Account -> what it may do with what; for the build's, all of it before the build.
    given = {
        account: {
            (call.split(" --")[0].split()[-1], call.partition("--role=")[2].split()[0])
            for call in some
            if "add-iam-policy-binding" in call and f"--member=serviceAccount:{account}" in call
        }
        for account, some in ((BUILDER, calls[: calls.index(build)]), (RUNTIME, calls))
    }
    assert given[BUILDER] == {
        ("gs://my-project_cloudbuild", "roles/storage.objectViewer"),
        ("gpt2", "roles/artifactregistry.writer"),
        ("my-project", "roles/logging.logWriter"),
    }
    assert given[RUNTIME] == {
        ("gpt2-api-keys", "roles/secretmanager.secretAccessor"),
        ("gpt2-management-key", "roles/secretmanager.secretAccessor"),
    }
    bindings = [call for call in calls if "add-iam-policy-binding" in call]
    assert len(bindings) == 3 + 2 + 1, "somebody else was given something"


def test_everybody_may_call_a_public_service_alone(cloud: Cloud, service: Front) -> None:
    everybody = "allUsers roles/run.invoker"
    for words, callers in ((("--public",), everybody), ((), "")):
        service.token = "" if words else TOKEN
        done = cloud.deploy(*words, "--yes")
        assert done.returncode == 0, done.stderr
        given = [call for call in cloud.calls() if "add-iam" in call and "allUsers" in call]
        assert bool(given) == bool(words), "private, but opened"
        assert cloud.callers() == callers


@pytest.mark.parametrize(("typed", "goes_on"), [("y", True), ("N", False)])
def test_it_asks_at_the_terminal_before_it_costs_money(
    typed: str, goes_on: bool, cloud: Cloud
) -> None:
    done = cloud.deploy("--public", typed=typed)
    assert "This costs money in my-project: a build, its image" in done.stdout
    calls = cloud.calls()
    if goes_on:
        assert done.returncode == 0, done.stderr
        assert any(call.startswith("run services replace") for call in calls)
    else:
        assert done.returncode == 1 and done.stderr == "error: nothing was done\n"
        assert calls == []


def test_the_script_sets_itself_up_again_when_its_packages_change(root: Path) -> None:
    shutil.copytree(ROOT / "scripts", root / "scripts")
    python = root / "python"
    python.write_text(PYTHON.replace("{python}", os.path.realpath(sys.executable)))
    python.chmod(0o755)
    installed = root / ".venv" / "installed"
    dry_run = [str(root / "scripts" / "deploy"), "--project", "my-project", "--dry-run"]
    for changed, times in ((False, 1), (False, 1), (True, 2)):
        if changed:
            project = root / "pyproject.toml"
            assert "pyyaml==6.0.3" in project.read_text()
            project.write_text(project.read_text().replace("pyyaml==6.0.3", "pyyaml==6.0.2"))
        done = subprocess.run(
            dry_run,
            env=os.environ | {"PYTHON311": str(python)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "gcloud run services replace" in done.stdout
        lines = [line for line in installed.read_text().splitlines() if "pip.txt" not in line]
        assert len(lines) == times
        # Neither torch nor TorchServe.
        assert all(set(names(line)) == {"requests", "pyyaml"} for line in lines)


def names(line: str) -> list[str]:
    """The packages that a line of pip asks for."""
    return [word.partition("==")[0] for word in line.split() if "==" in word]


def test_an_account_that_was_just_made_is_waited_for(cloud: Cloud) -> None:
    unknown = f"INVALID_ARGUMENT: Service account {BUILDER} does not exist."
    cloud.fail("storage buckets add-iam-policy-binding", unknown, times=2)
    early = "could not resolve source: Error 403: it does not have storage.objects.get access"
    cloud.fail("builds submit", early, times=1)
    done = cloud.deploy("--public", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trying again in") == 3


def test_a_step_that_fails_ends_it_with_the_reason(cloud: Cloud) -> None:
    cloud.fail("builds submit", "build step 0 failed")
    done = cloud.deploy("--public", "--yes")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("build step 0 failed")
    assert not any("run services replace" in call for call in cloud.calls())


def test_delete_takes_all_of_it_away_and_says_what_stays(
    cloud: Cloud, keys: tuple[str, ...]
) -> None:
    assert cloud.deploy("--public", *keys, "--yes").returncode == 0
    cloud.calls()
    done = cloud.deploy("--delete", "--yes")
    assert done.returncode == 0, done.stderr
    assert "gs://my-project_cloudbuild" in done.stdout
    deleted = [call.split("--")[0].strip() for call in cloud.calls() if " delete " in call]
    for kind in ("run services", "artifacts repositories", "secrets", "iam service-accounts"):
        assert any(call.startswith(f"{kind} delete") for call in deleted), kind
    left = {file.name for file in cloud.home.glob("made-*") if ":" not in file.name}
    assert left == {"made-gs:--my-project_cloudbuild"} or not left
    again = cloud.deploy("--delete", "--yes")
    assert again.returncode == 0, "what is gone already is no failure"


def test_delete_does_not_pass_over_a_refusal(cloud: Cloud) -> None:
    cloud.fail("artifacts repositories delete", "PERMISSION_DENIED: Permission denied on it")
    done = cloud.deploy("--delete", "--yes")
    assert done.returncode == 1 and "artifacts repositories delete" in done.stderr
    assert "PERMISSION_DENIED" in done.stderr
    assert any(call.startswith("iam service-accounts delete") for call in cloud.calls())


@pytest.mark.parametrize("words", [("--yes",), ("--delete", "--yes")])
def test_without_gcloud_it_is_one_line(words: tuple[str, ...], cloud: Cloud) -> None:
    done = cloud.deploy(*words, path="/nonexistent")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "error: gcloud is not installed: https://cloud.google.com/sdk/docs/install"
    ]


def test_a_private_service_is_asked_with_both_who_calls_and_our_own_key(
    cloud: Cloud, service: Front, keys: tuple[str, ...]
) -> None:
    service.token = TOKEN
    # The right to call, and the name of the service, take a while.
    service.refusals = [404, 403]
    done = cloud.deploy(*keys[2:], "--yes")
    assert done.returncode == 0, done.stderr
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for _, headers in service.seen)
    path, headers = service.seen[-1]
    assert path == "/models/gpt2" and headers["x-api-key"] == "management-key-0123456789"
    assert " there was" in done.stdout


def test_comments_in_a_file_of_keys_are_no_keys(
    cloud: Cloud, service: Front, keys: tuple[str, ...]
) -> None:
    Path(keys[1]).write_text("# whose is whose\n\nalice:alice-key-0123456789\n")
    done = cloud.deploy("--public", *keys, "--yes")
    assert done.returncode == 0, done.stderr
    sent = next(headers for path, headers in service.seen if path == "/v1/completions")
    assert sent["authorization"] == "Bearer alice-key-0123456789"
    Path(keys[1]).write_text("# nobody\n")
    assert "holds no key" in cloud.deploy("--public", *keys, "--yes").stderr


def test_a_service_that_does_not_write_is_a_failure(cloud: Cloud, service: Front) -> None:
    service.token = "somebody-else"
    settings = Settings(project="my-project", public=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoke, "PATIENCE_SECONDS", 2.0)
        with pytest.raises(DeployError, match="status 403"):
            smoke.smoke_test(settings, service.url, "")


@pytest.mark.parametrize(
    ("cpu", "memory"), [(1, "8Gi"), (2, "512Mi"), (8, "2Gi"), (2, "2G"), (2, "16Gi"), (4, "0Gi")]
)
def test_sizes_that_do_not_go_together_are_refused(cpu: int, memory: str) -> None:
    with pytest.raises(DeployError, match="--memory"):
        Settings(project="my-project", cpu=cpu, memory=memory)


def test_every_number_of_processors_has_a_memory_that_is_taken() -> None:
    for cpu, (least, most) in GIBIBYTES.items():
        for gibibytes in (least, most):
            assert Settings(project="my-project", cpu=cpu, memory=f"{gibibytes}Gi").cpu == cpu
    assert Settings(project="my-project", memory="1536Mi").memory == "1536Mi"


def test_the_names_of_accounts_are_short_enough() -> None:
    settings = Settings(project="my-project", service="a" * 40)
    for address in (settings.account, settings.builder):
        assert 6 <= len(address.partition("@")[0]) <= 30
    assert plan.removal(settings)

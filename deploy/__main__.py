"""The command line behind scripts/deploy."""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from deploy import plan, render
from deploy.settings import ROOT, DeployError, Settings

EXAMPLES = """\
examples:
  ./scripts/deploy --project my-project --dry-run
  ./scripts/deploy --project my-project --public
  ./scripts/deploy --project my-project --public --api-keys keys.txt --management-key key.txt
  ./scripts/deploy --project my-project --model models/gpt2-tales --min-instances 1
  ./scripts/deploy --project my-project --delete

It may be run again at any time: what is there already stays as it is.
What it costs: docs/cost.md.
"""


def main() -> int:
    """Deploy or delete; one line on stderr and status 1 if that fails."""
    chosen = _parse()
    names = ("dry_run", "yes", "delete")
    try:
        settings = Settings(**{k: v for k, v in vars(chosen).items() if k not in names})
        if chosen.delete:
            return _delete(settings, chosen)
        return _deploy(settings, chosen)
    except DeployError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="deploy",
        description="Puts GPT-2 on Google Cloud Run: from a project with billing to a URL.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--project", required=True, help="id of the Google Cloud project")
    add("--region", default="europe-west1", help="default: %(default)s")
    add("--service", default="gpt2", help="name of the service (default: %(default)s)")
    add(
        "--model",
        default="openai-community/gpt2",
        help="hub id, or a checkpoint directory in this repository (default: %(default)s)",
    )
    add(
        "--public",
        action="store_true",
        help="anyone may call (give --api-keys too); else only who has roles/run.invoker",
    )
    add("--api-keys", type=Path, metavar="FILE", help="keys for inference, name:key a line")
    add("--management-key", type=Path, metavar="FILE", help="key for management; none closes it")
    add("--min-instances", type=int, default=0, help="kept warm (default: 0, nothing is paid)")
    add("--max-instances", type=int, default=3, help="bound of the bill (default: 3)")
    add("--cpu", type=int, choices=[1, 2, 4, 6, 8], default=2, help="default: 2")
    add("--memory", default="2Gi", help="default: 2Gi")
    add("--always-cpu", action="store_true", help="pay by the instance, not by the request")
    add("--generation", type=int, choices=[1, 2], default=2, help="execution environment")
    add("--dry-run", action="store_true", help="print every command, run none")
    add("--yes", action="store_true", help="do not ask")
    add("--delete", action="store_true", help="take all of it away again")
    return parser.parse_args()


def _deploy(settings: Settings, chosen: argparse.Namespace) -> int:
    revision, tag = _revision(settings.model)
    image = f"{settings.repository}:{tag}"
    number = "PROJECT_NUMBER" if chosen.dry_run else _output(plan.project_number(settings))
    host = f"https://{settings.service}-{number}.{settings.region}.run.app"
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "service.yaml"
        text = yaml.safe_dump(render.service(settings, image, host), sort_keys=False)
        file.write_text(text, encoding="utf-8")
        steps = plan.deployment(settings, image, revision, file)
        if chosen.dry_run:
            _show(steps)
            print(f"# {file.name}:")
            print("".join(f"#   {line}\n" for line in text.splitlines()), end="")
            print(shlex.join(plan.url(settings)))
            return 0
        cost = f"a build, and up to {settings.max_instances} instances while they serve"
        _ask(f"This costs money in {settings.project}: {cost} (docs/cost.md).", chosen.yes)
        _run(steps)
    url = _output(plan.url(settings))
    print(f"GPT-2 is at {url}")
    return _smoke_test(settings, url)


def _delete(settings: Settings, chosen: argparse.Namespace) -> int:
    steps = plan.removal(settings)
    if chosen.dry_run:
        _show(steps)
        return 0
    what = "service, images, secrets and service account"
    _ask(f"This deletes {settings.service} in {settings.project}: {what}.", chosen.yes)
    _run(steps)
    return 0


def _revision(model: str) -> tuple[str, str]:
    """Return the commit, and a tag for it with this model; a changed tree has a tag of its own."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    revision = git("rev-parse", "HEAD") or "unknown"
    tag = f"{revision[:12]}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
    return revision, f"{tag}-changed" if git("status", "--porcelain") else tag


def _show(steps: list[plan.Step]) -> None:
    for step in steps:
        line = shlex.join(step.command)
        if step.unless:
            line = f"{shlex.join(step.unless)} || {line}"
            if step.output is not None:
                line = f"# unless its value is the file's: \n{line}"
        print(f"{line} || true" if step.may_fail else line)


def _run(steps: list[plan.Step]) -> None:
    for step in steps:
        if step.unless:
            done = subprocess.run(step.unless, capture_output=True, text=True, cwd=ROOT)
            if done.returncode == 0 and step.output in (None, done.stdout):
                continue
        print(f"$ {shlex.join(step.command)}", flush=True)
        status = subprocess.run(step.command, cwd=ROOT).returncode
        if status and not step.may_fail:
            raise DeployError(f"{' '.join(step.command[:4])} failed; nothing after it was done")


def _output(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except FileNotFoundError:
        raise DeployError(
            "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
        ) from None
    if done.returncode:
        reason = done.stderr.strip().splitlines() or ["no reason given"]
        raise DeployError(f"{' '.join(command[:4])}: {reason[0]}")
    return done.stdout.strip()


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise DeployError("there is nobody to ask; say --yes")
    if input(f"{question} Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise DeployError("nothing was done")


def _smoke_test(settings: Settings, url: str) -> int:
    """Have the client write a few words with the new service."""
    key = os.environ.get("GPT2_API_KEY", "")
    if not settings.public:
        key = _output(plan.identity_token())
    elif settings.api_keys and not key:
        first = settings.api_keys.read_text(encoding="utf-8").split()[0]
        key = first.rpartition(":")[2]
    words = ["generate", "Once upon a time", "--max-tokens", "20"]
    command = [sys.executable, "-m", "client", "--url", url, "--timeout", "60", *words]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"GPT2_API_KEY": key})
    if done.returncode:
        raise DeployError("the service is deployed, but did not write; see its log")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line behind scripts/deploy."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from deploy import context, plan, render, smoke, vertex
from deploy.options import parser
from deploy.runner import Runner
from deploy.settings import ROOT, VERTEX_AI, DeployError, Settings

STAYS = """\
What stays costs next to nothing: the enabled APIs, and the sources of builds in {bucket}/source,
which other services of the project may share. This deletes them:
gcloud storage rm {bucket}/source --recursive"""


def main() -> int:
    """Deploy or delete; one line on stderr and status 1 if that fails."""
    chosen = parser().parse_args()
    names = ("dry_run", "yes", "delete")
    try:
        chosen.model = context.model_argument(chosen.model)
        settings = Settings(**{k: v for k, v in vars(chosen).items() if k not in names})
        act = _delete if chosen.delete else _deploy
        act(settings, Runner(chosen.dry_run), chosen.yes)
        return 0
    except DeployError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _deploy(settings: Settings, runner: Runner, yes: bool) -> None:
    revision = _revision()
    # By its content: a commit that changes nothing of the image builds nothing.
    image = f"{settings.repository}:{context.digest(settings.model)[:16]}"
    host = "" if settings.platform == VERTEX_AI else _host(settings, runner)
    if not runner.dry:
        cost = f"a build, its image, and up to {settings.max_instances} instances while they serve"
        _ask(f"This costs money in {settings.project}: {cost} (docs/cost.md).", yes)
    runner.run(plan.foundations(settings, image, revision))
    # By its digest: another image is another service.yaml, whatever its tag.
    digest = runner.read(plan.digest(settings, image), "sha256:DIGEST")
    pinned = f"{settings.repository}@{digest}"
    if settings.platform == VERTEX_AI:
        _deploy_on_vertex(settings, runner, pinned)
        return
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "service.yaml"
        text = yaml.safe_dump(render.service(settings, pinned, host), sort_keys=False)
        file.write_text(text, encoding="utf-8")
        if runner.dry:
            print("".join(f"# {line}\n" for line in [f"{file}:", *text.splitlines()]), end="")
        runner.run(plan.rollout(settings, file))
    url = runner.read(plan.url(settings), host, "URL")
    token = "" if settings.public else runner.read(plan.identity_token(), "TOKEN")
    if runner.dry:
        smoke.show(settings, url)
        return
    print(f"GPT-2 is at {url}")
    smoke.smoke_test(settings, url, token)


def _host(settings: Settings, runner: Runner) -> str:
    number = runner.read(plan.project_number(settings), "PROJECT_NUMBER")
    return f"https://{settings.service}-{number}.{settings.region}.run.app"


def _deploy_on_vertex(settings: Settings, runner: Runner, pinned: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        answer = vertex.roll_out(settings, runner, pinned, Path(directory) / "request.json")
    if not runner.dry:
        print(f"GPT-2 is at the endpoint {settings.service} in {settings.region}: {answer}")


def _delete(settings: Settings, runner: Runner, yes: bool) -> None:
    if not runner.dry:
        what = "service, images, secrets and service accounts"
        _ask(f"This deletes {settings.service} in {settings.project}: {what}.", yes)
    try:
        own = vertex.remove(settings, runner) if settings.platform == VERTEX_AI else []
        runner.run_all([*own, *plan.removal(settings)])
    finally:
        stays = STAYS.format(bucket=settings.source_bucket)
        print("\n".join(f"# {line}" if runner.dry else line for line in stays.splitlines()))


def _revision() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise DeployError("there is no terminal to ask on; add --yes")
    if input(f"{question} Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise DeployError("nothing was done")


if __name__ == "__main__":
    sys.exit(main())

"""The command line behind scripts/deploy."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from deploy import collector, context, plan, regions, render, smoke, traffic, vertex
from deploy.options import parser
from deploy.runner import Runner
from deploy.settings import ROOT, VERTEX_AI, DeployError, Settings

STAYS = """\
What stays costs next to nothing: the enabled APIs, and the sources of builds in {bucket}/source,
which other services of the project may share. This deletes them:
gcloud storage rm {bucket}/source --recursive"""

ONE_NAME = (
    "Point {domain} to {address} (an A record); its certificate is issued within an hour of that. "
    "Then close direct access: gcloud run services update with "
    "--ingress=internal-and-cloud-load-balancing, in each region"
)


def main() -> int:
    """Deploy or delete; one line on stderr and status 1 if that fails."""
    chosen = parser().parse_args()
    names = ("dry_run", "yes", "delete", "promote", "rollback")
    try:
        chosen.model = context.model_argument(chosen.model)
        settings = Settings(**{k: v for k, v in vars(chosen).items() if k not in names})
        runner = Runner(chosen.dry_run)
        if chosen.promote or chosen.rollback is not None:
            _shift(settings, runner, chosen.rollback)
            return 0
        act = _delete if chosen.delete else _deploy
        act(settings, runner, chosen.yes)
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
    content = context.digest(f"{settings.model} {settings.groups}")[:16]
    image = f"{settings.repository}:{content}"
    if not runner.dry:
        cost = f"a build, its image, and up to {settings.max_instances} instances while they serve"
        cost += " in each region, and a load balancer" if settings.regions else ""
        _ask(f"This costs money in {settings.project}: {cost} (docs/cost.md).", yes)
    runner.run(plan.foundations(settings, image, revision))
    if settings.collector:
        runner.run(collector.foundations(settings))
    # By its digest: another image is another service.yaml, whatever its tag.
    digest = runner.read(plan.digest(settings, image), "sha256:DIGEST")
    pinned = f"{settings.repository}@{digest}"
    if settings.platform == VERTEX_AI:
        _deploy_on_vertex(settings, runner, pinned)
        return
    for region in settings.all_regions:
        _roll_out(dataclasses.replace(settings, region=region, regions=(), domain=""), runner,
                  pinned, settings.domain)  # fmt: skip
    if settings.regions:
        runner.run(regions.balancer(settings))
        address = runner.read(regions.address(settings), "ADDRESS")
        print(f"# {ONE_NAME.format(domain=settings.domain, address=address)}")


def _roll_out(settings: Settings, runner: Runner, pinned: str, domain: str) -> None:
    """Have one region serve an image, and try it."""
    host = _host(settings, runner)
    serves = ""
    if settings.canary:
        serves = _serving(settings, runner)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "service.yaml"
        made = render.service(settings, pinned, f"https://{domain}" if domain else host, serves)
        text = yaml.safe_dump(made, sort_keys=False)
        file.write_text(text, encoding="utf-8")
        if runner.dry:
            print("".join(f"# {line}\n" for line in [f"{file}:", *text.splitlines()]), end="")
        runner.run(plan.rollout(settings, file))
    url = runner.read(plan.url(settings), host, "URL")
    token = "" if settings.public else runner.read(plan.identity_token(), "TOKEN")
    tried = traffic.candidate_url(url) if serves else url
    if runner.dry:
        smoke.show(settings, tried)
    else:
        print(f"GPT-2 is at {tried}")
        smoke.smoke_test(settings, tried, token)
    if serves:
        runner.run([traffic.share(settings, settings.canary)])
        print(f"# {settings.canary} % of the requests go to the new revision; then --promote, or "
              f"--rollback to {serves}")  # fmt: skip


def _serving(settings: Settings, runner: Runner) -> str:
    """Return the revision that serves now; empty where this is the first."""
    if runner.dry:
        return runner.read(traffic.serving(settings), "REVISION")
    return traffic.read_serving(runner.ask(traffic.serving(settings)))


def _shift(settings: Settings, runner: Runner, back_to: str | None) -> None:
    """Give all requests to the newest revision, or to an older one."""
    for region in settings.all_regions:
        there = dataclasses.replace(settings, region=region, regions=(), domain="")
        if back_to is None:
            runner.run(traffic.promote(there))
        else:
            runner.run(traffic.roll_back(there, back_to or _before(there, runner)))


def _before(settings: Settings, runner: Runner) -> str:
    """Return the revision to go back to: that which serves beside a candidate, or the one before.

    Raises:
        DeployError: There is none.
    """
    serves = _serving(settings, runner)
    listed = runner.read(traffic.revisions(settings), "NEWEST REVISION").split()
    if serves in listed[1:]:  # the newest does not have most of the requests yet
        return serves
    if len(listed) < 2:
        raise DeployError("there is no revision before this one")
    return listed[1]


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
        own += regions.removal(settings) if settings.regions else []
        for region in settings.regions:
            there = dataclasses.replace(settings, region=region, regions=(), domain="")
            own.append(plan.service_removal(there))
        own += collector.removal(settings) if settings.collector else []
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
        raise DeployError("no terminal to ask for confirmation; add --yes")
    if input(f"{question} Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise DeployError("nothing was done")


if __name__ == "__main__":
    sys.exit(main())

"""The `gcloud` commands of a deployment, in their order. Nothing is run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.settings import Settings

APIS = ("run", "artifactregistry", "cloudbuild", "secretmanager")


@dataclass(frozen=True, slots=True)
class Step:
    """One command; it is left out if `unless` succeeds (and prints `output`, if that is given)."""

    command: tuple[str, ...]
    unless: tuple[str, ...] = ()
    output: str | None = None
    may_fail: bool = False


def deployment(settings: Settings, image: str, revision: str, service_file: Path) -> list[Step]:
    """Return the steps from an empty project to a running service; each may be repeated."""
    steps = [Step(gcloud(settings, "services enable", *(f"{a}.googleapis.com" for a in APIS)))]
    steps += _foundations(settings)
    for name, path in settings.secrets.items():
        steps += _secret(settings, name, path)
    steps.append(_build(settings, image, revision))
    steps.append(Step(run(settings, "run services replace", str(service_file), "--quiet")))
    member = ("--member=allUsers", "--role=roles/run.invoker")
    verb = "add" if settings.public else "remove"
    command = f"run services {verb}-iam-policy-binding"
    # Removing what is not there is an error of gcloud's, and fine.
    steps.append(Step(run(settings, command, settings.service, *member), may_fail=verb == "remove"))
    return steps


def removal(settings: Settings) -> list[Step]:
    """Return the steps that take away all that `deployment` made (the APIs stay enabled)."""
    location = f"--location={settings.region}"
    doomed = [
        run(settings, "run services delete", settings.service, "--quiet"),
        gcloud(settings, "artifacts repositories delete", settings.service, location, "--quiet"),
        gcloud(settings, "secrets delete", f"{settings.service}-api-keys", "--quiet"),
        gcloud(settings, "secrets delete", f"{settings.service}-management-key", "--quiet"),
        gcloud(settings, "iam service-accounts delete", settings.account, "--quiet"),
    ]
    return [Step(command, may_fail=True) for command in doomed]


def url(settings: Settings) -> tuple[str, ...]:
    """Return the command that prints where the service is."""
    return run(settings, "run services describe", settings.service, "--format=value(status.url)")


def project_number(settings: Settings) -> tuple[str, ...]:
    """Return the command that prints the project's number, a part of the service's URL."""
    return (*_words("projects describe"), settings.project, "--format=value(projectNumber)")


def identity_token() -> tuple[str, ...]:
    """Return the command that prints who is asking, for a service that is not public."""
    return _words("auth print-identity-token")


def gcloud(settings: Settings, command: str, *rest: str) -> tuple[str, ...]:
    """Return a command on the project."""
    return (*_words(command), *rest, f"--project={settings.project}")


def run(settings: Settings, command: str, *rest: str) -> tuple[str, ...]:
    """Return a command of Cloud Run, on the project and in the region."""
    return gcloud(settings, command, *rest, f"--region={settings.region}")


def _words(command: str) -> tuple[str, ...]:
    return ("gcloud", *command.split())


def _foundations(settings: Settings) -> list[Step]:
    location = f"--location={settings.region}"
    name = settings.account.partition("@")[0]
    return [
        Step(
            gcloud(
                settings,
                "artifacts repositories create",
                settings.service,
                "--repository-format=docker",
                location,
            ),
            unless=gcloud(settings, "artifacts repositories describe", settings.service, location),
        ),
        Step(
            gcloud(settings, "iam service-accounts create", name, "--display-name=GPT-2 at work"),
            unless=gcloud(settings, "iam service-accounts describe", settings.account),
        ),
    ]


def _secret(settings: Settings, name: str, path: Path) -> list[Step]:
    value = path.read_text(encoding="utf-8")
    latest = gcloud(settings, "secrets versions access", "latest", f"--secret={name}")
    return [
        Step(
            gcloud(settings, "secrets create", name, "--replication-policy=automatic"),
            unless=gcloud(settings, "secrets describe", name),
        ),
        Step(
            gcloud(settings, "secrets versions add", name, f"--data-file={path}"),
            unless=latest,
            output=value,
        ),
        Step(
            gcloud(
                settings,
                "secrets add-iam-policy-binding",
                name,
                f"--member=serviceAccount:{settings.account}",
                "--role=roles/secretmanager.secretAccessor",
            )
        ),
    ]


def _build(settings: Settings, image: str, revision: str) -> Step:
    substitutions = f"_IMAGE={image},_MODEL={settings.model},_REVISION={revision}"
    command = gcloud(
        settings,
        "builds submit",
        ".",
        "--config=deploy/cloudrun/cloudbuild.yaml",
        "--ignore-file=.dockerignore",
        f"--region={settings.region}",
        f"--substitutions={substitutions}",
    )
    # A tag names a commit and a model: built once, it is there for good.
    known = gcloud(settings, "artifacts docker images describe", image)
    return Step(command, unless=() if image.endswith("-changed") else known)

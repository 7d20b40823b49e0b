"""The `gcloud` commands of a deployment, in their order. Nothing is run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.settings import CLOUD_RUN, VERTEX_AI, Settings

APIS = {
    CLOUD_RUN: ("run", "artifactregistry", "cloudbuild", "secretmanager", "iam"),
    VERTEX_AI: ("aiplatform", "artifactregistry", "cloudbuild", "iam"),
}
CONFIG = "deploy/cloudrun/cloudbuild.yaml"


@dataclass(frozen=True, slots=True)
class Step:
    """One command; it is left out if `unless` succeeds (and prints `output`, if that is given)."""

    command: tuple[str, ...]
    unless: tuple[str, ...] = ()
    output: str | None = None
    # What `unless` has to print somewhere, besides.
    holds: str = ""
    # What is to be taken away may not exist any more; any other failure counts.
    absent_is_fine: bool = False


def foundations(settings: Settings, image: str, revision: str) -> list[Step]:
    """Return the steps from an empty project to an image; each may be repeated."""
    apis = (f"{name}.googleapis.com" for name in APIS[settings.platform])
    steps = [Step(gcloud(settings, "services enable", *apis))]
    steps += _repository(settings)
    for name, path in settings.secrets.items():
        steps += keep_secret(settings, name, path)
    steps += _builder(settings)
    steps.append(_build(settings, image, revision))
    return steps


def rollout(settings: Settings, service_file: Path) -> list[Step]:
    """Return the steps from an image to a running service."""
    member = ("--member=allUsers", "--role=roles/run.invoker")
    verb = "add" if settings.public else "remove"
    command = f"run services {verb}-iam-policy-binding"
    return [
        Step(run(settings, "run services replace", str(service_file), "--quiet")),
        Step(run(settings, command, settings.service, *member), absent_is_fine=verb == "remove"),
    ]


def removal(settings: Settings) -> list[Step]:
    """Return the steps that take away all that was made (but for what STAYS names)."""
    location = f"--location={settings.region}"
    builder = f"--member=serviceAccount:{settings.builder}"
    service = [service_removal(settings).command]
    doomed = [
        *(service if settings.platform == CLOUD_RUN else []),
        gcloud(settings, "artifacts repositories delete", settings.service, location, "--quiet"),
        *(_secrets_deleted(settings) if settings.platform == CLOUD_RUN else []),
        # A role given to an account that is gone would stay in the lists for good.
        project_role(settings, "remove"),
        gcloud(
            settings,
            "storage buckets remove-iam-policy-binding",
            settings.source_bucket,
            builder,
            "--role=roles/storage.objectViewer",
        ),
        gcloud(settings, "iam service-accounts delete", settings.builder, "--quiet"),
    ]
    if settings.platform == CLOUD_RUN:
        account = gcloud(settings, "iam service-accounts delete", settings.account, "--quiet")
        doomed.append(account)
    return [Step(command, absent_is_fine=True) for command in doomed]


def service_removal(settings: Settings) -> Step:
    """Return the step that takes the service of one region away."""
    command = run(settings, "run services delete", settings.service, "--quiet")
    return Step(command, absent_is_fine=True)


def _secrets_deleted(settings: Settings) -> list[tuple[str, ...]]:
    names = ("api-keys", "management-key")
    return [
        gcloud(settings, "secrets delete", f"{settings.service}-{name}", "--quiet")
        for name in names
    ]


def digest(settings: Settings, image: str) -> tuple[str, ...]:
    """Return the command that prints the digest of an image."""
    return gcloud(
        settings,
        "artifacts docker images describe",
        image,
        "--format=value(image_summary.digest)",
    )


def url(settings: Settings) -> tuple[str, ...]:
    """Return the command that prints where the service is."""
    return run(settings, "run services describe", settings.service, "--format=value(status.url)")


def project_number(settings: Settings) -> tuple[str, ...]:
    """Return the command that prints the project's number, a part of the service's URL."""
    return (*_words("projects describe"), settings.project, "--format=value(projectNumber)")


def identity_token() -> tuple[str, ...]:
    """Return the command that prints who is asking, for a service that is not public."""
    return _words("auth print-identity-token")


def project_role(settings: Settings, verb: str) -> tuple[str, ...]:
    """Return the command that lets the build write its log, or no more."""
    return (
        *_words(f"projects {verb}-iam-policy-binding"),
        settings.project,
        f"--member=serviceAccount:{settings.builder}",
        "--role=roles/logging.logWriter",
        # Without it gcloud asks, where the project has roles with conditions.
        "--condition=None",
    )


def gcloud(settings: Settings, command: str, *rest: str) -> tuple[str, ...]:
    """Return a command on the project."""
    return (*_words(command), *rest, f"--project={settings.project}")


def run(settings: Settings, command: str, *rest: str) -> tuple[str, ...]:
    """Return a command of Cloud Run, on the project and in the region."""
    return gcloud(settings, command, *rest, f"--region={settings.region}")


def _words(command: str) -> tuple[str, ...]:
    return ("gcloud", *command.split())


def _account(settings: Settings, address: str, purpose: str) -> Step:
    name = address.partition("@")[0]
    return Step(
        gcloud(settings, "iam service-accounts create", name, f"--display-name={purpose}"),
        unless=gcloud(settings, "iam service-accounts describe", address),
    )


def _repository(settings: Settings) -> list[Step]:
    location = f"--location={settings.region}"
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
        *_runtime_account(settings),
    ]


def _runtime_account(settings: Settings) -> list[Step]:
    """Vertex AI runs the image as an account of its own."""
    is_ours = settings.platform == CLOUD_RUN
    return [_account(settings, settings.account, "GPT-2 at work")] if is_ours else []


def keep_secret(settings: Settings, name: str, path: Path) -> list[Step]:
    """Return the steps that have a file's content as a secret, which the service may read."""
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


def _builder(settings: Settings) -> list[Step]:
    # A build of a new project runs as Compute Engine's account, which may do much or, where an
    # organisation forbids that, nothing. This one may read its source, write its image and a log.
    member = f"--member=serviceAccount:{settings.builder}"
    bucket = settings.source_bucket
    place = f"--location={settings.region}"
    return [
        _account(settings, settings.builder, "Builds GPT-2's image"),
        Step(
            gcloud(
                settings,
                "storage buckets create",
                bucket,
                place,
                "--uniform-bucket-level-access",
                "--public-access-prevention",
            ),
            unless=gcloud(settings, "storage buckets describe", bucket),
        ),
        Step(
            gcloud(
                settings,
                "storage buckets add-iam-policy-binding",
                bucket,
                member,
                "--role=roles/storage.objectViewer",
            )
        ),
        Step(
            gcloud(
                settings,
                "artifacts repositories add-iam-policy-binding",
                settings.service,
                place,
                member,
                "--role=roles/artifactregistry.writer",
            )
        ),
        Step(project_role(settings, "add")),
    ]


def _build(settings: Settings, image: str, revision: str) -> Step:
    values = {
        "_IMAGE": image, "_MODEL": settings.model, "_REVISION": revision,
        "_GROUPS": settings.groups,
    }  # fmt: skip
    substitutions = ",".join(f"{name}={value}" for name, value in values.items())
    command = gcloud(
        settings,
        "builds submit",
        ".",
        f"--config={CONFIG}",
        "--ignore-file=.dockerignore",
        f"--region={settings.region}",
        f"--service-account=projects/{settings.project}/serviceAccounts/{settings.builder}",
        f"--substitutions={substitutions}",
    )
    # A tag names the content: built once, it is there for good.
    return Step(command, unless=gcloud(settings, "artifacts docker images describe", image))

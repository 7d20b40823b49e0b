"""The sidecar that sends traces to Cloud Trace and metrics to Managed Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.plan import Step, gcloud, keep_secret
from deploy.settings import ROOT, Settings

CONFIG = ROOT / "deploy" / "cloudrun" / "collector.yaml"
# Google's own build of OpenTelemetry's collector: cloud.google.com/stackdriver/docs/instrumentation
IMAGE = (
    "us-docker.pkg.dev/cloud-ops-agents-artifacts/google-cloud-opentelemetry-collector/"
    "otelcol-google:0.156.0"
)
NAME = "collector"
DIRECTORY = "/etc/otelcol-google"
OTLP = "http://localhost:4318"
HEALTH_PORT = 13133
ROLES = ("roles/cloudtrace.agent", "roles/monitoring.metricWriter")
APIS = ("cloudtrace", "monitoring", "telemetry")


def secret(settings: Settings) -> str:
    """Return the name of the secret that holds its configuration, which is none, but a file."""
    return f"{settings.service}-collector"


def foundations(settings: Settings, config: Path = CONFIG) -> list[Step]:
    """Return the steps that give it its configuration and its rights."""
    member = f"--member=serviceAccount:{settings.account}"
    apis = (f"{name}.googleapis.com" for name in APIS)
    roles = [
        Step(
            (
                *("gcloud", "projects", "add-iam-policy-binding", settings.project),
                *(member, f"--role={role}", "--condition=None"),
            )
        )
        for role in ROLES
    ]
    enable = Step(gcloud(settings, "services enable", *apis))
    return [enable, *keep_secret(settings, secret(settings), config), *roles]


def removal(settings: Settings) -> list[Step]:
    """Return the steps that take it away: a role of an account that is gone would stay."""
    member = f"--member=serviceAccount:{settings.account}"
    roles = [
        (
            *("gcloud", "projects", "remove-iam-policy-binding", settings.project),
            *(member, f"--role={role}", "--condition=None"),
        )
        for role in ROLES
    ]
    forget = gcloud(settings, "secrets delete", secret(settings), "--quiet")
    return [Step(command, absent_is_fine=True) for command in (forget, *roles)]


def add(service: dict[str, Any], settings: Settings) -> None:
    """Put it beside the service: it is started first, and has a probe that says when it is."""
    template = service["spec"]["template"]
    revision = template["spec"]
    [ours] = revision["containers"]
    ours["env"].append({"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": OTLP})
    template["metadata"]["annotations"]["run.googleapis.com/container-dependencies"] = json.dumps(
        {ours["name"]: [NAME]}
    )
    revision["containers"].append(
        {
            "name": NAME,
            "image": IMAGE,
            "args": [f"--config={DIRECTORY}/config.yaml"],
            "resources": {"limits": {"cpu": "0.25", "memory": "256Mi"}},
            "startupProbe": {
                "httpGet": {"path": "/", "port": HEALTH_PORT},
                "periodSeconds": 1,
                "timeoutSeconds": 1,
                "failureThreshold": 30,
            },
            "volumeMounts": [{"name": NAME, "mountPath": DIRECTORY}],
        }
    )
    items = [{"key": "latest", "path": "config.yaml"}]
    revision.setdefault("volumes", []).append(
        {"name": NAME, "secret": {"secretName": secret(settings), "items": items}}
    )

"""Fills deploy/cloudrun/service.yaml in. Knows nothing of gcloud."""

from __future__ import annotations

from typing import Any

import yaml

from deploy import collector, traffic
from deploy.settings import CONCURRENCY, ROOT, Settings

TEMPLATE = ROOT / "deploy" / "cloudrun" / "service.yaml"
# Cloud Run mounts each secret as a directory of its own.
SECRETS = "/secrets"


def service(settings: Settings, image: str, host: str, serves: str = "") -> dict[str, Any]:
    """Return the Knative Service for these settings.

    serves: The revision that keeps serving while the new one is tried, if there is one.
    """
    made: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    made["metadata"]["name"] = settings.service
    template = made["spec"]["template"]
    template["metadata"]["annotations"] |= {
        "autoscaling.knative.dev/minScale": str(settings.min_instances),
        "autoscaling.knative.dev/maxScale": str(settings.max_instances),
        "run.googleapis.com/cpu-throttling": "false" if settings.always_cpu else "true",
        "run.googleapis.com/execution-environment": f"gen{settings.generation}",
    }
    if settings.secrets:
        # Keys are read at the start: other keys have to be another revision.
        template["metadata"]["annotations"]["keys-sha256"] = settings.keys_digest
    revision = template["spec"]
    revision["containerConcurrency"] = CONCURRENCY
    revision["serviceAccountName"] = settings.account
    container = revision["containers"][0]
    container["image"] = image
    container["resources"]["limits"] = {"cpu": str(settings.cpu), "memory": settings.memory}
    container["env"] += [
        {"name": "HOST", "value": host},
        {"name": "GOOGLE_CLOUD_PROJECT", "value": settings.project},
    ]
    for name in settings.secrets:
        kind = name.removeprefix(f"{settings.service}-")
        setting = f"{kind.upper().replace('-', '_')}_FILE"
        directory = f"{SECRETS}/{kind}"
        container["env"].append({"name": setting, "value": f"{directory}/value"})
        container.setdefault("volumeMounts", []).append({"name": kind, "mountPath": directory})
        items = [{"key": "latest", "path": "value"}]
        revision.setdefault("volumes", []).append(
            {"name": kind, "secret": {"secretName": name, "items": items}}
        )
    if settings.collector:
        collector.add(made, settings)
    if settings.canary and serves:
        traffic.hold_back(made, serves)
    return made

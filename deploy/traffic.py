"""Traffic between revisions: a new one is tried, then gets a share, then all; and rollback."""

from __future__ import annotations

import json
from typing import Any

from deploy.plan import Step, run
from deploy.settings import Settings

TAG = "candidate"


def serving(settings: Settings) -> tuple[str, ...]:
    """Return the command that prints which revisions serve, as JSON."""
    words = (settings.service, "--format=json(status.traffic)")
    return run(settings, "run services describe", *words)


def read_serving(printed: str) -> str:
    """Return the revision that most requests go to; empty where there is none."""
    if not printed:
        return ""
    traffic = (json.loads(printed).get("status") or {}).get("traffic") or []
    shares = [(each.get("percent", 0), each["revisionName"]) for each in traffic]
    return max(shares, default=(0, ""))[1]


def hold_back(service: dict[str, Any], serves: str) -> None:
    """Have a new revision get nothing but what asks for it by its tag."""
    service["spec"]["traffic"] = [
        {"revisionName": serves, "percent": 100},
        {"latestRevision": True, "percent": 0, "tag": TAG},
    ]


def candidate_url(url: str) -> str:
    """Return where the revision that is held back answers."""
    return url.replace("https://", f"https://{TAG}---", 1)


def share(settings: Settings, percent: int) -> Step:
    """Return the step that gives the candidate its share."""
    words = (settings.service, f"--to-tags={TAG}={percent}", "--quiet")
    return Step(run(settings, "run services update-traffic", *words))


def promote(settings: Settings) -> list[Step]:
    """Return the steps that give all to the newest revision."""
    words = "run services update-traffic"
    return [
        Step(run(settings, words, settings.service, "--to-latest", "--quiet")),
        Step(
            run(settings, words, settings.service, f"--remove-tags={TAG}", "--quiet"),
            absent_is_fine=True,
        ),
    ]


def roll_back(settings: Settings, revision: str) -> list[Step]:
    """Return the step that gives all to an older revision; the newest keeps its tag."""
    words = (settings.service, f"--to-revisions={revision}=100", "--quiet")
    return [Step(run(settings, "run services update-traffic", *words))]


def revisions(settings: Settings) -> tuple[str, ...]:
    """Return the command that prints the revisions, the newest first."""
    return run(
        settings,
        "run revisions list",
        f"--service={settings.service}",
        "--sort-by=~metadata.creationTimestamp",
        "--format=value(metadata.name)",
    )

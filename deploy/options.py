"""The command line of scripts/deploy; needs nothing but the standard library."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from deploy.settings import CLOUD_RUN, GIBIBYTES, VERTEX_AI

Add = Callable[..., object]

EXAMPLES = """\
examples:
  ./scripts/deploy --project my-project --dry-run
  ./scripts/deploy --project my-project --public
  ./scripts/deploy --project my-project --public --api-keys keys.txt --management-key key.txt
  ./scripts/deploy --project my-project --model models/gpt2-tales --min-instances 1
  ./scripts/deploy --project my-project --platform vertex-ai --dry-run
  ./scripts/deploy --project my-project --regions us-central1 --domain gpt2.example.com
  ./scripts/deploy --project my-project --canary 10         then --promote, or --rollback
  ./scripts/deploy --project my-project --delete

It may be run again at any time: what is there already stays as it is.
What it costs: docs/cost.md.
"""


def parser() -> argparse.ArgumentParser:
    """All options."""
    result = argparse.ArgumentParser(
        prog="deploy",
        description="Deploys GPT-2 to Google Cloud Run: from a project with billing to a URL.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_service(result.add_argument)
    _add_size(result.add_argument)
    _add_releases(result.add_argument)
    _add_manner(result.add_argument)
    return result


def _add_service(add: Add) -> None:
    """What is served, where and for whom."""
    add("--project", required=True, help="id of the Google Cloud project")
    add("--region", default="europe-west1", help="default: %(default)s")
    add("--service", default="gpt2", help="name of the service (default: %(default)s)")
    add(
        "--model",
        default="openai-community/gpt2",
        help="hub id, or a checkpoint directory in models/ (default: %(default)s)",
    )
    add(
        "--public",
        action="store_true",
        help="anyone may call (give --api-keys too); without it, only holders of roles/run.invoker",
    )
    add("--api-keys", type=Path, metavar="FILE", help="keys for inference, one name:key per line")
    add(
        "--management-key",
        type=Path,
        metavar="FILE",
        help="key for management, which is disabled without one",
    )
    add(
        "--platform",
        choices=[CLOUD_RUN, VERTEX_AI],
        default=CLOUD_RUN,
        help="Vertex AI keeps at least one instance (default: %(default)s)",
    )
    add("--machine", default="n1-standard-2", help="on Vertex AI (default: %(default)s)")


def _add_size(add: Add) -> None:
    """How large, and what it costs."""
    add("--min-instances", type=int, default=0, help="instances kept warm (default: 0)")
    add(
        "--max-instances",
        type=int,
        default=3,
        help="most instances, which limits the bill (default: 3)",
    )
    add("--cpu", type=int, choices=list(GIBIBYTES), default=2, help="default: 2")
    add("--memory", default="2Gi", help="default: 2Gi")
    add("--always-cpu", action="store_true", help="pay per instance instead of per request")
    add(
        "--collector",
        action="store_true",
        help="a sidecar for Cloud Trace and Managed Prometheus (another quarter of a processor)",
    )


def _add_releases(add: Add) -> None:
    """Several regions, and from one revision to the next."""
    add(
        "--regions",
        type=lambda given: tuple(filter(None, given.split(","))),
        default=(),
        metavar="A,B",
        help="further regions, behind one load balancer (with --domain)",
    )
    add("--domain", default="", metavar="NAME", help="its name, like gpt2.example.com")
    add(
        "--canary",
        type=int,
        default=0,
        metavar="PERCENT",
        help="try the new revision, then give it this share of the requests",
    )
    add("--promote", action="store_true", help="give all requests to the newest revision")
    add(
        "--rollback",
        nargs="?",
        const="",
        metavar="REVISION",
        help="give all requests to the revision before, or to this one",
    )
    add("--model-digest", default="", metavar="SHA256", help="content_sha256 that must be served")


def _add_manner(add: Add) -> None:
    """How the command itself goes about it."""
    add("--generation", type=int, choices=[1, 2], default=2, help="execution environment")
    add("--dry-run", action="store_true", help="print every command and run none")
    add("--yes", action="store_true", help="do not ask")
    add("--delete", action="store_true", help="delete everything again")

"""One address in front of the service in several regions: a global load balancer."""

from __future__ import annotations

from deploy.plan import Step, gcloud
from deploy.settings import Settings

SCHEME = "--load-balancing-scheme=EXTERNAL_MANAGED"


def balancer(settings: Settings) -> list[Step]:
    """Return the steps that make it; each may be repeated."""
    name = settings.service
    steps = [
        Step(gcloud(settings, "services enable", "compute.googleapis.com")),
        _made(settings, "addresses", name, "--global", "--ip-version=IPV4"),
    ]
    steps += [_endpoints(settings, region) for region in settings.all_regions]
    steps.append(_made(settings, "backend-services", name, "--global", SCHEME, "--protocol=HTTPS"))
    steps += [_backend(settings, region) for region in settings.all_regions]
    steps += [
        _made(settings, "url-maps", name, "--global", more=(f"--default-service={name}",)),
        _made(
            settings, "ssl-certificates", name, "--global", more=(f"--domains={settings.domain}",),
        ),
        _made(
            settings, "target-https-proxies", name, "--global",
            more=(f"--ssl-certificates={name}", f"--url-map={name}"),
        ),
        _made(
            settings, "forwarding-rules", name, "--global",
            more=(
                SCHEME, "--network-tier=PREMIUM", f"--address={name}",
                f"--target-https-proxy={name}", "--ports=443",
            ),
        ),
    ]  # fmt: skip
    return steps


def removal(settings: Settings) -> list[Step]:
    """Return the steps that take it away, in the other order."""
    kinds = ("forwarding-rules", "target-https-proxies", "ssl-certificates", "url-maps")
    doomed = [_gone(settings, kind, "--global") for kind in (*kinds, "backend-services")]
    doomed += [
        _gone(settings, "network-endpoint-groups", f"--region={region}")
        for region in settings.all_regions
    ]
    return [*doomed, _gone(settings, "addresses", "--global")]


def address(settings: Settings) -> tuple[str, ...]:
    """Return the command that prints the address that the domain has to name."""
    words = ("compute addresses describe", settings.service, "--format=value(address)", "--global")
    return gcloud(settings, *words)


def _made(settings: Settings, kind: str, name: str, place: str, *options: str,
          more: tuple[str, ...] = ()) -> Step:  # fmt: skip
    return Step(
        gcloud(settings, f"compute {kind} create", name, place, *options, *more),
        unless=gcloud(settings, f"compute {kind} describe", name, place),
    )


def _endpoints(settings: Settings, region: str) -> Step:
    return _made(
        settings, "network-endpoint-groups", settings.service, f"--region={region}",
        "--network-endpoint-type=serverless", f"--cloud-run-service={settings.service}",
    )  # fmt: skip


def _backend(settings: Settings, region: str) -> Step:
    name = settings.service
    groups = "--format=value(backends.group)"
    describe = gcloud(settings, "compute backend-services describe", name, groups, "--global")
    add = gcloud(
        settings, "compute backend-services add-backend", name, "--global",
        f"--network-endpoint-group={name}", f"--network-endpoint-group-region={region}",
    )  # fmt: skip
    return Step(add, unless=describe, holds=f"/regions/{region}/")


def _gone(settings: Settings, kind: str, place: str) -> Step:
    command = gcloud(settings, f"compute {kind} delete", settings.service, place, "--quiet")
    return Step(command, absent_is_fine=True)

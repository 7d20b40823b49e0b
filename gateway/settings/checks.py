"""Checks of settings that the bounds of a single value cannot express."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.archives.archive_urls import Source, parse_pinned
from gateway.settings import keys
from gateway.settings.key_limits import KeyLimitFault, parse_key_limits
from gateway.settings.sources import KEY_NAMES, SettingsError

if TYPE_CHECKING:
    from gateway.settings.settings import Settings

NEVER_PASSED = (*KEY_NAMES, "REDIS_URL", "TS_CONFIG_FILE")
OTHER_ROUTES = (
    *("/v1/", "/predictions", "/models", "/health", "/metrics", "/docs", "/page/"),
    *("/explanations/", "/ping/", "/api-description/", "/invocations/"),
    *("/v2/", "/info/", "/generate_stream/", "/status/"),
)


def check(settings: Settings) -> None:
    """Judge settings together.

    Raises:
        SettingsError: Names the setting and says what is allowed.
    """
    _check_route(settings.route_generate)
    _check_path("AIP_PREDICT_ROUTE", settings.aip_predict_route)
    _check_path("AIP_HEALTH_ROUTE", settings.aip_health_route)
    if settings.max_bodies_bytes < settings.max_body_bytes:
        raise SettingsError(
            f"MAX_BODIES_BYTES must be at least MAX_BODY_BYTES ({settings.max_body_bytes})"
        )
    _check_sources("ALLOWED_MODEL_URLS", Source.parse, settings.allowed_model_urls)
    _check_sources("MODEL_URLS", parse_pinned, settings.model_urls)
    for name in settings.pass_variables:
        if name in NEVER_PASSED:
            raise SettingsError(f"PASS_VARIABLES must not name {name}: it would open the service")
    _check_endpoint(settings.otel_exporter_otlp_endpoint)
    _check_keys(settings)
    _check_key_limits(settings)
    if not _is_public_url(settings.host):
        raise SettingsError(
            f"HOST is the page's public URL (http://...), not {settings.host!r}; "
            "BIND is the address to listen on"
        )


def _check_route(route: str) -> None:
    if not route.startswith("/") or route == "/" or any(c in route for c in "{}?#% "):
        raise SettingsError(f"ROUTE_GENERATE must be a path like /generate, not {route!r}")
    if f"{route}/".startswith(OTHER_ROUTES) or route == "/openapi.json":
        raise SettingsError(f"ROUTE_GENERATE: {route} is taken by another route")


def _check_endpoint(url: str) -> None:
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT must be like http://collector:4318, not {url!r}"
        )


def _check_path(name: str, path: str) -> None:
    if path and (not path.isascii() or any(c in path for c in "{}?#% \\")):
        raise SettingsError(f"{name} must be a path like /predict, not {path!r}")


def _check_sources(name: str, take_apart: Callable[[str], object], values: tuple[str, ...]) -> None:
    for value in values:
        try:
            take_apart(value)
        except ValueError as fault:
            raise SettingsError(f"{name}: {fault}, not {value!r}") from None


def _check_keys(settings: Settings) -> None:
    with named_faults():
        keys.judge(settings.management_key, "MANAGEMENT_KEY")
        longest = max(map(len, keys.named_keys(settings.api_keys).values()), default=0)
    if max(longest, len(settings.management_key)) > settings.max_header_bytes // 2:
        raise SettingsError("a key of API_KEYS or MANAGEMENT_KEY takes half of MAX_HEADER_BYTES")


def _check_key_limits(settings: Settings) -> None:
    try:
        limited = parse_key_limits(settings.key_limits)
    except KeyLimitFault as fault:
        raise SettingsError(str(fault)) from None
    known = keys.named_keys(settings.api_keys)
    for name in limited:
        if name not in known:
            raise SettingsError(f"KEY_LIMITS names `{name}`, which is not a key of API_KEYS")


def _is_public_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in ("http", "https") and parts.port != 0
        return is_web and bool(parts.hostname) and parts.username is None
    except ValueError:  # a port or an address that is none
        return False


@contextmanager
def named_faults() -> Iterator[None]:
    """Turn what is wrong with a key into a SettingsError."""
    try:
        yield
    except keys.KeyFault as fault:
        raise SettingsError(str(fault)) from None

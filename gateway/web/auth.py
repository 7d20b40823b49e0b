"""Authentication: keys for inference and management, and their headers. Knows no routes."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway.errors import Forbidden, Unauthorized
from gateway.settings import Settings
from gateway.settings.keys import BLANKS, from_header, named_keys

ANONYMOUS = "anonymous"
# Beside `Authorization`; the second is what Azure's clients send.
KEY_HEADERS = ("x-api-key", "api-key")


class Keys:
    """Keys with names; only their digests are kept."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    @property
    def names(self) -> list[str]:
        """What the keys are called."""
        return list(self._digests)

    def name_of(self, key: str) -> str | None:
        """Return the name of `key`; takes the same time whether and where it matches."""
        given, found = _digest(key), None
        for name, digest in self._digests.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found


class Guard:
    """Decides from a request's headers and address who is asking."""

    def __init__(self, settings: Settings) -> None:
        self.inference = Keys(named_keys(settings.api_keys))
        self.management = Keys(
            {"management": settings.management_key} if settings.management_key else {}
        )
        self._local_management = settings.local_management
        self._hops = settings.trusted_proxy_hops

    def for_inference(self, headers: Mapping[str, str]) -> str:
        """Return the key's name, or `anonymous` where no keys are set.

        Raises:
            Unauthorized: No key, or a wrong one.
        """
        if not self.inference:
            return ANONYMOUS
        return self._check(self.inference, headers, "an API key")

    def for_management(self, headers: Mapping[str, str], peer: str) -> str:
        """Return who manages.

        Raises:
            Unauthorized: No key, or a wrong one.
            Forbidden: No key is set, and the request is not plainly this machine's own.
        """
        if self.management:
            return self._check(self.management, headers, "the management key")
        if self._local_management and is_plainly_local(headers, peer):
            return "local"
        raise Forbidden(
            "Management is disabled: the service has no MANAGEMENT_KEY", code="management_closed"
        )

    def client_address(self, headers: Mapping[str, str], peer: str) -> str:
        """Return the client's address; X-Forwarded-For counts from the trusted hop on only."""
        if not self._hops:
            return peer
        forwarded = [part.strip() for part in headers.get("x-forwarded-for", "").split(",")]
        address = forwarded[-self._hops] if len(forwarded) >= self._hops else ""
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            return peer

    @staticmethod
    def _check(keys: Keys, headers: Mapping[str, str], what: str) -> str:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        bearer = token if scheme.lower() == "bearer" else ""
        others = (headers.get(name, "") for name in KEY_HEADERS)
        sent = (key.strip(BLANKS) for key in (bearer, *others))
        given = [from_header(key) for key in sent if key]
        if not given:
            raise Unauthorized(
                f"This needs {what}: send `Authorization: Bearer KEY` or `x-api-key: KEY`",
                code="missing_api_key",
            )
        # Both: behind Cloud Run's own sign-in the bearer token is not one of ours.
        names = [name for name in map(keys.name_of, given) if name is not None]
        if not names:
            raise Unauthorized("This key is not valid here")
        return names[0]


def neighbourhood(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that one IPv6 client has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def is_plainly_local(headers: Mapping[str, str], peer: str) -> bool:
    """Return whether a request comes from a program on this machine, not through a proxy or a page.

    A page of another site (or one whose name was rebound to 127.0.0.1) gives itself away by
    `Origin`, `Sec-Fetch-Site` or `Host`.
    """
    if "origin" in headers or "x-forwarded-for" in headers or "forwarded" in headers:
        return False
    if headers.get("sec-fetch-site", "none") != "none":
        return False
    try:
        if not ipaddress.ip_address(peer).is_loopback:
            return False
        name = urlsplit("//" + headers.get("host", "")).hostname
    except ValueError:
        return False
    return name in ("localhost", "127.0.0.1", "::1")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8")).digest()

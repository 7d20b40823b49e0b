"""From where archives may be fetched: https URLs, compared part by part."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

DIGEST = re.compile(r"[0-9a-f]{64}")
PATH = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*)?")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Source:
    """An https URL of a named host; no user, no query, nothing escaped."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Source:
        """Take a URL apart.

        Raises:
            ValueError: Nothing is fetched from such a one.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        named = host if port == 443 and parts.port is None else f"{host}:{port}"
        is_plain = parts.netloc.lower() == named and not (parts.query or parts.fragment)
        path = parts.path or "/"
        is_https = url.isprintable() and url.lower().startswith("https://")
        if not (is_https and is_plain):
            raise ValueError("it must be https://HOST/PATH, without user, query or fragment")
        if not HOST.fullmatch(host) or not PATH.fullmatch(path):
            raise ValueError("host and path must be plain names")
        return cls(host, port, path)

    def is_under(self, allowed: Source) -> bool:
        """Return whether an allowed URL names this one, or a directory (`.../`) that holds it."""
        if (self.host, self.port) != (allowed.host, allowed.port):
            return False
        is_directory = allowed.path.endswith("/")
        return self.path.startswith(allowed.path) if is_directory else self.path == allowed.path

    @property
    def url(self) -> str:
        """What is asked for."""
        return f"https://{self.host}:{self.port}{self.path}"

    @property
    def file_name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name


def parse_pinned(text: str) -> tuple[Source, str]:
    """Take `URL#sha256=DIGEST` apart.

    Raises:
        ValueError: It is none.
    """
    url, hash_sign, digest = text.partition("#sha256=")
    if not hash_sign or not DIGEST.fullmatch(digest):
        raise ValueError("it must end in #sha256= and 64 digits from 0 to f")
    source = Source.parse(url)
    if not source.file_name.endswith(".mar"):
        raise ValueError("it must name an archive (.mar)")
    return source, digest


# Addresses of IPv6 that lead to one of IPv4, by whatever way: that may be inside.
TRANSLATED = tuple(
    map(ipaddress.ip_network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16"))
)


def is_public(address: str) -> bool:
    """Return whether an address is the internet's, and not this machine's or its network's."""
    parsed = ipaddress.ip_address(address)
    if any(parsed in network for network in TRANSLATED):
        return False
    return parsed.is_global and not parsed.is_multicast

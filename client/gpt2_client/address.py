"""Addresses as people type them, and the way to them: directly or through a proxy."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import requests

# What addresses end with that were made for OpenAI's clients, or copied from an example.
ROUTE = re.compile(r"(/v1(/(chat/)?completions|/embeddings|/models)?)?/*$")


def base_url(text: str) -> str:
    """Return a service's address as routes are appended to it, whichever route it ends in.

    Raises:
        ValueError: It is none.
    """
    text = text.strip()
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        meant = f"; did you mean http://{text}?" if text and "//" not in text else ""
        raise ValueError(f"not an http:// or https:// address: {text!r}{meant}")
    if "?" in text or "#" in text:  # routes appended to it would be a part of these
        meant = base_url(re.split("[?#]", text, maxsplit=1)[0])
        raise ValueError(f"an address must not contain ? or #: {text!r}; did you mean {meant}?")
    return ROUTE.sub("", text, count=1).rstrip("/")


def is_loopback(url: str) -> bool:
    """Tell whether an address is this machine's own, which no proxy can reach for us."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Session(requests.Session):
    """A session that asks loopback directly, whatever proxies the environment names."""

    def merge_environment_settings(self, url, proxies, stream, verify, cert):  # type: ignore[no-untyped-def]
        """Take the environment's certificates always, its proxies for other machines alone."""
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if is_loopback(url):
            settings["proxies"] = {}
        return settings


def proxy_of(url: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Name the proxy on the way to an address, and what sets it; None where there is none."""
    if is_loopback(url):
        return None
    chosen = requests.utils.select_proxy(
        url, requests.utils.get_environ_proxies(url, no_proxy=None)
    )
    if not chosen:
        return None
    environment = os.environ if environment is None else environment
    setters = [name for name, value in environment.items() if value == chosen]
    named = [name for name in setters if name.lower().endswith("_proxy")]
    return f"{_without_password(chosen)} ({named[0]})" if named else _without_password(chosen)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

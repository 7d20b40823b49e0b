"""The sockets to listen on: that of BIND, and beside all of IPv4 the loopback address of IPv6.

`localhost` is `::1` first for Java, some versions of Node and others. Global addresses of IPv6
stand behind no NAT, so they are opened by BIND=:: alone.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket

from gateway.settings import Settings

logger = logging.getLogger("gateway.listeners")

IPV4_AND_LOOPBACK = ("0.0.0.0", "localhost")
# A free port of IPv4 may be taken on ::1: so often another one is tried.
TRIES = 5


def listen(settings: Settings) -> list[socket.socket]:
    """Return the sockets, all on one port; the first is BIND's.

    Raises:
        OSError: The port is taken, or the address is not ours.
    """
    if settings.bind not in IPV4_AND_LOOPBACK:
        return [_bound(settings.bind, settings.port)]
    for tries_left in reversed(range(TRIES if settings.port == 0 else 1)):
        first = _bound(settings.bind, settings.port)
        port = first.getsockname()[1]
        try:
            return [first, _bound("::1", port)]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                logger.debug("This machine has no ::1: %s", error.strerror)
                return [first]
            if not tries_left:
                logger.warning(
                    "[::1]:%d is taken by another program, which may answer for `localhost`", port
                )
                return [first]
            first.close()
    raise AssertionError("the last try returns")


def unmapped(address: str) -> str:
    """Return an IPv4 address as itself, also where a socket of IPv6 writes `::ffff:` before it."""
    if not address.lower().startswith("::ffff:"):
        return address
    mapped = ipaddress.IPv6Address(address).ipv4_mapped
    return address if mapped is None else str(mapped)


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Said, since the system's own choice differs: `::` is IPv4 too, nothing else is.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener

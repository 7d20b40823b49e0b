"""Asks the service in this container whether it is ready; exit status 0 if it is."""

import sys
from http.client import HTTPConnection

from gateway.settings import load


def is_ready() -> bool:
    """Return whether `/health/ready` answers 200."""
    connection = HTTPConnection("127.0.0.1", load().port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


sys.exit(0 if is_ready() else 1)

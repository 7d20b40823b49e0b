"""Asks the service in this container whether it is ready; exit status 0 if it is."""

import os
import sys
from http.client import HTTPConnection


def is_ready() -> bool:
    """Return whether `/health/ready` answers 200."""
    connection = HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 8080), timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


sys.exit(0 if is_ready() else 1)

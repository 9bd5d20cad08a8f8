"""What this program and this process are called."""

import os
import socket
from functools import cache
from importlib.metadata import version


@cache  # it is parsed out of a file, and a worker tells it every second
def program_version() -> str:
    """Return this program's version."""
    return version("logistics")


def worker_name() -> str:
    """Return a name for this process that no other worker has."""
    return f"{socket.gethostname()}-{os.getpid()}"

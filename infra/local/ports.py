"""Loopback ports: free ones for a new server, and whether somebody listens on one."""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

LOOPBACK = "127.0.0.1"

_LOWEST = 10_240  # below it live the well-known services
_OUTGOING_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Return that many different ports nobody listens on now, all below the range of outgoing connections.

    A port inside that range can be taken by anybody's outgoing connection while the server restarts, even by the
    server's own client: one that keeps reconnecting over loopback may connect to itself and hold the port.

    Raises OSError when there are not that many.
    """
    found = [port for port, _ in zip(filter(is_free, _candidates()), range(count), strict=False)]
    if len(found) < count:
        raise OSError(f"found {len(found)} free loopback ports of {count}")
    return found


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        # What servers do themselves: connections of a stopped server may linger, a living listener still refuses us.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Return whether somebody accepts connections on the port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _candidates() -> Iterator[int]:
    # In random order, so that two runs that start together do not both go for the first free one.
    lowest_outgoing = int(_OUTGOING_RANGE.read_text().split()[0])
    ports = range(_LOWEST, lowest_outgoing if lowest_outgoing > _LOWEST else 65_536)
    return iter(random.sample(ports, k=len(ports)))

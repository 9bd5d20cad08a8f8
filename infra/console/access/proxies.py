"""Proxies in front of the console: which ones are believed, and what they say of a request."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from infra.console.access.roles import Person, Role
from infra.console.access.users import MAX_NAME

_FORWARDED_FOR = "x-forwarded-for"


@dataclass(frozen=True, slots=True)
class Proxies:
    """The trusted ones; a header that anybody else sets is not even looked at."""

    networks: Sequence[str] = ()
    user_header: str | None = None
    role_header: str | None = None

    def are(self, address: str) -> bool:
        """Whether a trusted proxy has this address."""
        found = _address(address)
        return found is not None and any(found in ipaddress.ip_network(network) for network in self.networks)

    def person(self, headers: Headers, peer: str) -> Person | None:
        """Return whom the proxy at `peer` has signed in; a reader, unless it names a role as well.

        None when it is no trusted one, names nobody, or more than one.
        """
        if self.user_header is None or not self.are(peer):
            return None
        names = [name.strip() for name in headers.getlist(self.user_header)]
        if len(names) != 1 or not names[0] or len(names[0]) > MAX_NAME or not names[0].isprintable():
            return None
        roles = headers.getlist(self.role_header) if self.role_header is not None else []
        role = roles[0].strip().lower() if len(roles) == 1 else ""
        return Person(names[0], Role(role) if role in set(Role) else Role.READER)

    def client(self, headers: Headers, peer: str) -> str:
        """Return the address a request comes from: the last one in the chain that is no trusted proxy's."""
        hops = ",".join(headers.getlist(_FORWARDED_FOR)).split(",")
        address = peer
        while self.are(address) and hops:
            before = hops.pop().strip()
            if _address(before) is None:
                break
            address = before
        return address


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found

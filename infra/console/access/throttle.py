"""Guessing passwords, made slow: for one name from one address, for one address, and for one name from anywhere."""

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.console.errors import TooManyTriesError

_MOST = 20_000
_FORGOTTEN_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class _Limit:
    free: int
    """Tries that may fail before there is a pause."""
    longest: float
    """Seconds of a pause, at most; the first is 2 s, each later one twice as long."""


_PAIR = _Limit(free=5, longest=900.0)
_ADDRESS = _Limit(free=20, longest=900.0)
_NAME = _Limit(free=50, longest=30.0)  # short: whoever guesses from many places must not lock the person out


@dataclass(slots=True)
class _Tries:
    failed: int = 0
    blocked_until: float = 0.0
    last: float = 0.0


class Throttle:
    """Counts sign-ins before they are looked at, so that many at once are counted, too."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: dict[str, _Tries] = {}

    def begin(self, name: str, address: str) -> None:
        """Count a try as failed. Raises TooManyTriesError when it must not be looked at; that one does not count."""
        now = self._clock()
        keys = _keys(name, address)
        # Refused tries are not even noted: in great numbers they would push out what others are counted by.
        wait = max(self._tries[key].blocked_until - now if key in self._tries else 0.0 for _, key in keys)
        if wait > 0:
            raise TooManyTriesError(wait)
        for limit, key in keys:
            tries = self._tries_of(key, now)
            tries.failed += 1
            tries.last = now
            if tries.failed >= limit.free:
                tries.blocked_until = now + min(2.0 ** min(tries.failed - limit.free + 1, 20), limit.longest)

    def succeeded(self, name: str, address: str) -> None:
        """Take the try back, and forget what failed before for this name from this address."""
        for limit, key in _keys(name, address):
            tries = self._tries.get(key)
            if tries is not None:
                tries.failed = 0 if limit is _PAIR else max(tries.failed - 1, 0)
                tries.blocked_until = 0.0 if tries.failed < limit.free else tries.blocked_until

    def _tries_of(self, key: str, now: float) -> _Tries:
        tries = self._tries.pop(key, None)
        if tries is None or now - tries.last > _FORGOTTEN_AFTER:
            tries = _Tries()
        while len(self._tries) >= _MOST:
            del self._tries[next(iter(self._tries))]  # the one that was not seen for longest
        self._tries[key] = tries
        return tries


def _keys(name: str, address: str) -> Sequence[tuple[_Limit, str]]:
    network = _network(address)
    return (_PAIR, f"pair {network} {name}"), (_ADDRESS, f"address {network}"), (_NAME, f"name {name}")


def _network(address: str) -> str:
    """Return what one subscriber has: an IPv4 address, or the first half of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)

"""Sign-ins that last: kept in memory, so a restart of the console ends them all."""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from infra.console.access.users import User

_MOST = 10_000


@dataclass(slots=True)
class _Session:
    user: User
    """As the users file had it at sign-in."""
    begun: float
    used: float


class Sessions:
    """The sessions by the hash of their secret, which only the browser's cookie has."""

    def __init__(self, *, idle: float, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`idle`: seconds without use after which one ends. `longest`: seconds after which it ends in any case."""
        self._idle = idle
        self._longest = longest
        self._clock = clock
        self._sessions: dict[str, _Session] = {}

    def begin(self, user: User) -> str:
        """Return the secret of a new session."""
        now = self._clock()
        self._sessions = {key: session for key, session in self._sessions.items() if self._lives(session, now)}
        while len(self._sessions) >= _MOST:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used)]
        secret = secrets.token_urlsafe(32)
        self._sessions[key_of(secret)] = _Session(user, now, now)
        return secret

    def user_of(self, key: str) -> User | None:
        """Return who began the session, None when it has ended; counts as use of it."""
        session, now = self._sessions.get(key), self._clock()
        if session is None or not self._lives(session, now):
            self.end(key)
            return None
        session.used = now
        return session.user

    def end(self, key: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(key, None)

    def _lives(self, session: _Session, now: float) -> bool:
        return now - session.used < self._idle and now - session.begun < self._longest


def key_of(secret: str) -> str:
    """Return under which key a session is kept: who reads the memory of the console gets no cookie out of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()

"""Signing in with a name and a password."""

import asyncio

from infra.console.access.passwords import password_fits
from infra.console.access.sessions import Sessions, key_of
from infra.console.access.throttle import Throttle
from infra.console.access.users import UsersFile
from infra.console.errors import SignInRefusedError
from worker.domain.log import StructuredLogger

_AT_ONCE = 2
"""Passwords looked at together: each takes 32 MiB."""

_log = StructuredLogger("logistics.console")


class SignIn:
    """Begins and ends sessions."""

    def __init__(self, *, users: UsersFile, sessions: Sessions, throttle: Throttle) -> None:
        self._users = users
        self._sessions = sessions
        self._throttle = throttle
        self._hashing = asyncio.Semaphore(_AT_ONCE)

    async def begin(self, name: str, password: str, *, address: str, before: str | None) -> str:
        """Return the secret of a new session; `before`, the one the browser showed, ends: it may be another's.

        Takes as long for a name that does not exist. Raises SignInRefusedError, TooManyTriesError.
        """
        self._throttle.begin(name, address)
        user = self._users.all().get(name)
        async with self._hashing:
            fits = await asyncio.to_thread(password_fits, password, user.kept if user is not None else "")
        if user is None or not fits:
            _log.warning("console.sign_in_refused", user=name, address=address)
            raise SignInRefusedError("no user of this name has this password")
        self._throttle.succeeded(name, address)
        if before is not None:
            self.end(before)
        _log.info("console.signed_in", user=user.name, role=str(user.role), address=address)
        return self._sessions.begin(user)

    def end(self, secret: str) -> None:
        """End the session of this secret, if there is one."""
        self._sessions.end(key_of(secret))

"""The ways in: a token, a cookie, a trusted proxy's word, or being on this machine."""

import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from infra.console.access.passwords import BY_PROXY, hash_token
from infra.console.access.proxies import Proxies
from infra.console.access.roles import Person
from infra.console.access.sessions import Sessions, key_of
from infra.console.access.users import User, UsersFile
from infra.console.access.visitor import Visitor, Way
from infra.console.errors import NotSignedInError

_BEARER = "bearer "


class Doors:
    """Knows who makes a request."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        cookie: str,
        users: UsersFile | None = None,
        proxies: Proxies | None = None,
        at_home: Person | None = None,
        longest: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`at_home`: who everybody is who comes in otherwise; None: nobody.

        `longest`: seconds that a proxy's word about a request counts for a page that stays open.
        """
        self._sessions = sessions
        self._cookie = cookie
        self._users = users
        self._proxies = proxies or Proxies()
        self._at_home = at_home
        self._longest = longest
        self._clock = clock

    def visitor(self, headers: Headers, peer: str) -> Visitor | None:
        """Return who makes a request with these headers from this address, None when nobody known does.

        A token that is not valid (any more) is nobody, whatever cookie comes with it.
        """
        authorization = headers.get("authorization", "")
        if authorization.lower().startswith(_BEARER):
            return self._by_token(hash_token(authorization[len(_BEARER) :].strip()))
        return self._by_session(self.secret(headers)) or self._by_proxy(headers, peer) or self._by_being_here()

    def secret(self, headers: Headers) -> str | None:
        """Return the secret of the session that the request's cookie names."""
        return cookie_parser(headers.get("cookie", "")).get(self._cookie)

    def client(self, headers: Headers, peer: str) -> str:
        """Return the address a request comes from, behind proxies that are trusted."""
        return self._proxies.client(headers, peer)

    def _by_token(self, kept: str) -> Visitor | None:
        found = next((user for user in self._all_users() if user.kept == kept), None)
        return None if found is None else Visitor(Way.TOKEN, lambda: self._current(found))

    def by_secret(self, secret: str) -> Visitor:
        """Return who has the session of this secret."""
        key = key_of(secret)
        return Visitor(Way.SESSION, lambda: self._of_session(key))

    def _by_session(self, secret: str | None) -> Visitor | None:
        if secret is None:
            return None
        visitor = self.by_secret(secret)
        try:
            visitor.person()
        except NotSignedInError:
            return None
        return visitor

    def _by_proxy(self, headers: Headers, peer: str) -> Visitor | None:
        person = self._proxies.person(headers, peer)
        if person is None:
            return None
        listed = next((user for user in self._all_users() if (user.name, user.kept) == (person.name, BY_PROXY)), None)
        until = self._clock() + self._longest
        return Visitor(Way.PROXY, lambda: self._of_proxy(person, listed, until))

    def _by_being_here(self) -> Visitor | None:
        person = self._at_home
        return None if person is None else Visitor(Way.LOOPBACK, lambda: person)

    def _of_proxy(self, person: Person, listed: User | None, until: float) -> Person:
        if self._clock() >= until:
            raise NotSignedInError("this page has been open for too long: load it again")
        return person if listed is None else self._current(listed)

    def _of_session(self, key: str) -> Person:
        user = self._sessions.user_of(key)
        if user is None:
            raise NotSignedInError("your sign-in has ended: sign in again")
        return self._current(user)

    def _current(self, user: User) -> Person:
        """Return a user as the file has them now; another password or token, and they have to sign in again."""
        found = self._users.all().get(user.name) if self._users is not None else None
        if found is None or found.kept != user.kept:
            raise NotSignedInError("this user was removed or changed: sign in again")
        return Person(found.name, found.role)

    def _all_users(self) -> list[User]:
        return list(self._users.all().values()) if self._users is not None else []

"""Who makes a request, and how the console knows."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from infra.console.access.roles import Person, Role
from infra.console.errors import NotAllowedError


class Way(StrEnum):
    """How somebody came in."""

    LOOPBACK = "loopback"
    """From this machine, to a console that listens to nothing else and asks nobody."""
    SESSION = "session"
    """Signed in with a password; a cookie says so."""
    TOKEN = "token"  # noqa: S105 - a word
    """By a token in the request itself."""
    PROXY = "proxy"
    """Signed in to a trusted proxy, whose header says so."""

    @property
    def is_ambient(self) -> bool:
        """Whether the proof comes along with any request of a browser, also with one that a foreign page caused."""
        return self in {Way.SESSION, Way.PROXY}


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person at the door; asked again for each action, as a page stays open longer than a sign-in lasts."""

    way: Way
    person: Callable[[], Person]
    """Returns who it is, with the role of this moment. Raises NotSignedInError when the sign-in has ended."""

    def require(self, role: Role) -> Person:
        """Return who it is. Raises NotAllowedError when their role does not cover this one, NotSignedInError."""
        person = self.person()
        if not person.role.covers(role):
            raise NotAllowedError(
                f"this needs the role {role}, and {person.name} is {person.role}: ask somebody who has it"
            )
        return person

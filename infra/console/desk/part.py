"""What the parts of a desk have in common: whose desk it is, and that each action asks for a role."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from infra.console.access.roles import Person, Role
from infra.console.access.visitor import Visitor
from worker.feed import OverviewFeed
from worker.services import Services
from worker.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D", bound="Part")

_ROLE = "__needs_role__"


@dataclass(frozen=True, slots=True)
class House:
    """What every desk works on, open for as long as the console runs."""

    settings: Settings
    services: Services
    feed: OverviewFeed


class Part:
    """One part of a person's desk."""

    def __init__(self, visitor: Visitor, house: House) -> None:
        self._visitor = visitor
        self._settings = house.settings
        self._services = house.services
        self._house = house

    @property
    def person(self) -> Person:
        """Whose desk it is, with the role of this moment. Raises NotSignedInError when the sign-in has ended."""
        return self._visitor.person()

    @property
    def is_masked(self) -> bool:
        """Whether personal data is hidden: destinations, and the bodies that hold them."""
        return not self.person.role.covers(Role.OPERATOR)


def needs(role: Role) -> Callable[[Callable[Concatenate[D, P], R]], Callable[Concatenate[D, P], R]]:
    """Have a method of a part done for this role and those that cover it alone.

    Called by anybody else, it raises NotAllowedError, or NotSignedInError, before it does anything.
    """

    def decorate(method: Callable[Concatenate[D, P], R]) -> Callable[Concatenate[D, P], R]:
        @functools.wraps(method)
        def checked(self: D, /, *args: P.args, **kwargs: P.kwargs) -> R:
            self._visitor.require(role)
            return method(self, *args, **kwargs)

        setattr(checked, _ROLE, role)
        return checked

    return decorate


def role_of(method: Callable[..., object]) -> Role:
    """Return the role that a method asks for. Raises LookupError for one that asks for none."""
    role: Role | None = getattr(method, _ROLE, None)
    if role is None:
        raise LookupError(f"{method.__qualname__} asks for no role")
    return role

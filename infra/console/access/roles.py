"""Who may do what: three roles, each covering the ones below it."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person may do."""

    READER = "reader"
    """Sees everything but personal data, changes nothing."""
    OPERATOR = "operator"
    """Sees everything; replays, edits, discards and restores dead letters."""
    ADMIN = "admin"
    """Controls the workers, too."""

    def covers(self, other: "Role") -> bool:
        """Whether whoever has this role may do what the other one is asked for."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is let in."""

    name: str
    role: Role

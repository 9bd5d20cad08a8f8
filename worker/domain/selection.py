"""Which dead letters: the filter that list, groups, export and replay share."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DeadLetterState(StrEnum):
    """Where a dead letter stands (the state machine is drawn in docs/message-states.md)."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Selection:
    """Dead letters that match every field that is set; all of them when none is."""

    ids: tuple[str, ...] = ()
    state: DeadLetterState | None = None
    reason: str | None = None
    group: str | None = None
    """A fingerprint."""
    order_id: str | None = None
    trace_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """`since` is included, `until` is not; both are about when the letter was dead-lettered last."""
    not_of_job: str | None = None
    """Not those whose last replay belongs to this job."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a letter stands in a list, newest first: what comes after it comes after every letter seen before it."""

    at: datetime
    """When it was dead-lettered last."""
    id: str


@dataclass(frozen=True, slots=True)
class HourCount:
    """How many letters were dead-lettered in an hour."""

    hour: datetime
    """Its beginning, in UTC."""
    count: int


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """The dead letters of one fingerprint."""

    fingerprint: str
    reason: str
    error_type: str
    error_message: str
    """Of the newest letter."""
    count: int
    first_seen: datetime
    last_seen: datetime
    example_id: str

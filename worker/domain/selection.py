"""Which dead letters: the filter that list, groups, export and replay share."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_IDS_IN_WORDS = 5


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


def in_words(selection: Selection) -> str:
    """Return the selection as a person would write it down: `group 0f3a9c2b71de, since 2026-03-01 12:00:00 UTC`."""
    parts: list[str] = []
    if selection.ids:
        some = ", ".join(selection.ids[:_IDS_IN_WORDS])
        parts.append(f"dead letters {some}" if len(selection.ids) <= _IDS_IN_WORDS else f"dead letters {some}, …")
    named = {
        "reason": selection.reason,
        "group": selection.group,
        "order": selection.order_id,
        "trace": selection.trace_id,
        "state": selection.state,
        "since": f"{selection.since:%Y-%m-%d %H:%M:%S} UTC" if selection.since is not None else None,
        "until": f"{selection.until:%Y-%m-%d %H:%M:%S} UTC" if selection.until is not None else None,
    }
    parts += [f"{name} {value}" for name, value in named.items() if value is not None]
    return ", ".join(parts) or "every dead letter"


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

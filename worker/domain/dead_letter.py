"""A filed dead letter: what is kept of it, and how its state moves.

open ──claim──▶ replaying ──shipped──▶ resolved
 ▲ ▲               │
 │ └──failed again─┘  (replay_count + 1)
 └──failed after it was resolved or discarded
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.domain.selection import DeadLetterState
from worker.domain.shipment import HistoryEvent

_MAX_FILED = 50
_MAX_HISTORY = 100


class LetterKind(StrEnum):
    """What the message was."""

    ORDER = "order"
    DELIVERED = "delivered"
    """A supplier's delivery notice; it may name an order, but that order's shipping does not resolve it."""


@dataclass(frozen=True, slots=True)
class LetterEvent:
    """One thing that happened to a dead letter: `filed`, `replayed`, `taken`, `failed_again`, `resolved`, …"""

    at: datetime
    event: str
    replay_id: str | None = None
    by: str | None = None
    note: str | None = None
    job_id: str | None = None
    """The replay job it belongs to."""


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """One dead letter, as stored in `dead_letters`."""

    id: str
    state: DeadLetterState
    reason: str
    order_id: str | None
    trace_id: str
    body: bytes
    headers: Mapping[str, Any]
    error_type: str
    error_message: str
    error_chain: tuple[str, ...]
    fingerprint: str
    origin_exchange: str
    origin_routing_key: str
    first_failed_at: datetime
    dead_lettered_at: datetime
    attempts: tuple[HistoryEvent, ...] = ()
    replay_count: int = 0
    """Replays that failed again."""
    replay_id: str | None = None
    """The replay under way, or the last one."""
    job_id: str | None = None
    """The replay job of that replay; None when it was sent by hand."""
    kind: LetterKind = LetterKind.ORDER
    version: int = 0
    """Which body this is: 0 as it arrived, 1 after the first edit, …; the earlier ones are kept beside it."""
    published_at: datetime | None = None
    """When the message was published first, by the publisher's own timestamp."""
    expires_at: datetime | None = None
    """When a discarded letter goes; None for every other."""
    filed: tuple[str, ...] = ()
    """Which failures this record has taken in already; a redelivered one changes nothing."""
    history: tuple[LetterEvent, ...] = ()
    revision: int = 0

    def absorb(self, failure: "DeadLetterRecord") -> "DeadLetterRecord":
        """Return this letter after the same message failed (again); itself when that is known already.

        The body stays this letter's own: an edited copy carries the body that was stored when it went out. A replay
        that failed reopens the letter and is counted. A copy that fails while the letter is open refreshes
        it. A failure that is new after the letter was resolved opens it again, and any after it was discarded: a
        publisher may use a message id twice, and a discarded letter goes for good one day.
        """
        known = set(failure.filed) <= set(self.filed)
        if known and self.state is not DeadLetterState.DISCARDED:
            return self
        replayed = not known and failure.replay_id is not None and failure.replay_id == self.replay_id
        event = replace(failure.history[-1], event="failed_again", replay_id=failure.replay_id)
        if replayed:
            event = replace(event, job_id=self.job_id)
        return replace(
            failure,
            body=self.body,
            state=DeadLetterState.OPEN if replayed or self.state is not DeadLetterState.REPLAYING else self.state,
            first_failed_at=min(self.first_failed_at, failure.first_failed_at),
            attempts=failure.attempts or self.attempts,
            replay_count=self.replay_count + replayed,
            replay_id=self.replay_id,
            job_id=self.job_id,
            version=self.version,
            published_at=self.published_at or failure.published_at,
            filed=tuple(dict.fromkeys((*self.filed, *failure.filed)))[-_MAX_FILED:],
            history=(*self.history, event)[-_MAX_HISTORY:],
            revision=self.revision,
        )

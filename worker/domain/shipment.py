"""A shipment: what becomes of one order."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

_SHIPMENT_NAMESPACE = uuid.UUID("5b0c2f7e-5e0d-5c39-9d0e-2f6a3c1b7a10")


class ShipmentStatus(StrEnum):
    """Where a shipment stands. SHIPPED and DELIVERED are never taken back."""

    PENDING = "PENDING"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"

    @property
    def is_settled(self) -> bool:
        """Whether the supplier must not be asked again."""
        return self in {ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED}


@lru_cache(maxsize=4096)
def shipment_id_for(order_id: str) -> str:
    """Return the one shipment id of this order.

    Derived, not drawn: a redelivery, a retry and a replay name the same shipment and the same idempotency key
    without reading anything first.
    """
    return str(uuid.uuid5(_SHIPMENT_NAMESPACE, order_id))


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One thing that happened to a shipment."""

    at: datetime
    event: str
    attempt: int | None = None
    worker: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    delay: float | None = None
    """Seconds until the next try, where there is one."""


@dataclass(slots=True)
class Shipment:
    """One order's shipment; changed only through its methods, so that every change leaves a history event."""

    id: str
    order_id: str
    destination: str
    trace_id: str
    created_at: datetime
    updated_at: datetime
    status: ShipmentStatus = ShipmentStatus.PENDING
    retry_count: int = 0
    """Failed tries, over all retries and replays. Deferrals do not count."""
    last_error: str | None = None
    published_at: datetime | None = None
    """When its order was published, by the publisher's word; None where that said nothing."""
    delivered_at: datetime | None = None
    """When it arrived, by the supplier's word; None until it is DELIVERED."""
    history: list[HistoryEvent] = field(default_factory=list)
    new_events: list[HistoryEvent] = field(default_factory=list)
    """Events that are not stored yet; a repository empties this when it has stored them."""
    stored_status: ShipmentStatus | None = None
    """The status the store is known to hold; None when nothing was read or written yet."""
    stored_events: int | None = field(default=None, compare=False)
    """How many events the store is known to hold; None when nothing was read or written yet."""

    @classmethod
    def for_order(
        cls, order_id: str, destination: str, *, trace_id: str, now: datetime, published_at: datetime | None = None
    ) -> "Shipment":
        """Return the new, PENDING shipment of an order."""
        shipment = cls(
            id=shipment_id_for(order_id),
            order_id=order_id,
            destination=destination,
            trace_id=trace_id,
            created_at=now,
            updated_at=now,
            published_at=published_at,
        )
        shipment.record(HistoryEvent(at=now, event="received"))
        return shipment

    def record(self, event: HistoryEvent) -> None:
        """Add an event to the history."""
        self.history.append(event)
        self.new_events.append(event)
        self.updated_at = event.at

    def mark_shipped(self, *, now: datetime, attempt: int, worker: str) -> None:
        """The supplier dispatched it."""
        self.status = ShipmentStatus.SHIPPED
        self.last_error = None
        self.record(HistoryEvent(at=now, event="shipped", attempt=attempt, worker=worker))

    def redirect(self, destination: str, *, now: datetime) -> None:
        """The order was published again, corrected, before it was shipped: the newest word counts."""
        self.destination = destination
        self.record(HistoryEvent(at=now, event="redirected"))

    def mark_tried_again(self, *, now: datetime, worker: str) -> None:
        """A FAILED shipment's order came back, by replay or because it was published again.

        It stays FAILED until it ships, whatever number of tries that takes: a FAILED shipment has a dead letter, which
        who ships it resolves.
        """
        self.record(HistoryEvent(at=now, event="tried_again", worker=worker))

    def record_failed_try(
        self, error: BaseException, *, now: datetime, attempt: int, worker: str, delay: float | None = None
    ) -> None:
        """One try failed: it counts. `delay`: seconds until the next one, where there is one."""
        self.retry_count += 1
        self.last_error = describe_error(error)
        event = _error_event("attempt_failed", error, now=now, attempt=attempt, worker=worker)
        self.record(replace(event, delay=delay))

    def record_deferral(self, error: BaseException, *, now: datetime, attempt: int, worker: str) -> None:
        """Put off without a try: it does not count."""
        self.record(_error_event("deferred", error, now=now, attempt=attempt, worker=worker))

    def mark_failed(self, error: BaseException, *, now: datetime, attempt: int, worker: str) -> None:
        """Given up: what follows is a dead letter."""
        self.status = ShipmentStatus.FAILED
        self.last_error = describe_error(error)
        self.record(_error_event("failed", error, now=now, attempt=attempt, worker=worker))

    def give_up(self, reason: str, error_message: str, *, now: datetime, worker: str) -> None:
        """Given up by the broker, which left no error of ours."""
        self.status = ShipmentStatus.FAILED
        self.last_error = error_message
        self.record(HistoryEvent(at=now, event="failed", worker=worker, error_type=reason, error_message=error_message))


def describe_error(error: BaseException, *, limit: int = 1000) -> str:
    """Return the error as one bounded line: its type and its words."""
    text = str(error).encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return f"{type(error).__name__}: {text}"[:limit] if text else type(error).__name__


def _error_event(event: str, error: BaseException, *, now: datetime, attempt: int, worker: str) -> HistoryEvent:
    return HistoryEvent(
        at=now,
        event=event,
        attempt=attempt,
        worker=worker,
        error_type=type(error).__name__,
        error_message=describe_error(error),
    )

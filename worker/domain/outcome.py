"""What handling a delivery decides; settlement performs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DeadLetterReason(StrEnum):
    """Why a message is a dead letter."""

    MALFORMED = "malformed"
    SUPPLIER_REJECTED = "supplier_rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    EXPIRED = "expired"
    UNKNOWN_SHIPMENT = "unknown_shipment"
    """A delivery notice of a shipment that is not in the store."""
    DELIVERY_LIMIT = "delivery_limit"
    """The broker gave up: the message was handed out too often without an answer."""
    UNKNOWN = "unknown"
    """Somebody put it into the dead-letter queue without saying why."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Done with: forget the message."""

    note: str
    """`shipped`, `duplicate`, `filed`, …: for logs and metrics."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A try failed: come back after a delay, counted."""

    queue: str
    """The delay queue's label, such as `5s`."""
    error: BaseException
    not_before: int
    """Milliseconds since the epoch before which the next try must not start."""
    wait_left: int = 0
    """Milliseconds of the wait that are left when the delay queue lets go of the message."""
    headers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Defer:
    """Put off without a try: come back after a delay, not counted as an attempt."""

    queue: str
    error: BaseException | None
    """Why; None when the message only came back before its time."""
    not_before: int
    wait_left: int = 0
    headers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Cannot succeed: off to the dead-letter exchange."""

    reason: DeadLetterReason
    error: BaseException
    headers: Mapping[str, object] = field(default_factory=dict)


Outcome = Ack | Retry | Defer | DeadLetter

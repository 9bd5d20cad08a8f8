"""What states and reasons are called on the pages, and how good or bad they look."""

from urllib.parse import quote

from worker.domain.outcome import DeadLetterReason
from worker.domain.replay_job import ItemState, JobState
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import ShipmentStatus

_REASONS = frozenset(DeadLetterReason)
GOOD, WARN, BAD, CALM = "is-good", "is-warn", "is-bad", ""

LOOK: dict[str, str] = {
    DeadLetterState.OPEN: BAD,
    DeadLetterState.REPLAYING: WARN,
    DeadLetterState.RESOLVED: GOOD,
    DeadLetterState.DISCARDED: CALM,
    ShipmentStatus.PENDING: WARN,
    ShipmentStatus.SHIPPED: GOOD,
    ShipmentStatus.DELIVERED: GOOD,
    ShipmentStatus.FAILED: BAD,
    JobState.SELECTING: WARN,
    JobState.CANARY: WARN,
    JobState.RAMP: WARN,
    JobState.SETTLING: WARN,
    JobState.PAUSED: WARN,
    JobState.STOPPED: BAD,
    JobState.DONE: GOOD,
    JobState.CANCELLED: CALM,
    ItemState.FAILED_AGAIN: BAD,
    ItemState.NOT_SENT: BAD,
}

WHY: dict[str, str] = {
    DeadLetterReason.MALFORMED: "the body is not valid; correct it with an edit, or discard it",
    DeadLetterReason.SUPPLIER_REJECTED: "the supplier said no; a replay helps once they would say yes",
    DeadLetterReason.ATTEMPTS_EXHAUSTED: "every try failed; replay it when what failed is mended",
    DeadLetterReason.EXPIRED: "it waited for too long; replay it",
    DeadLetterReason.DELIVERY_LIMIT: "workers died over it, or gave it back, too often; look at it before a replay",
}
"""What a reason means, and what to do about it."""


def words(name: str) -> str:
    """Return a name as people write it: `attempts exhausted`."""
    return name.replace("_", " ")


def named(text: str) -> str:
    """Return a text; where it is nothing but a reason's name, as people write it."""
    return words(text) if text in _REASONS else text


def order_address(order_id: str) -> str:
    """Return where an order's story is told."""
    return f"/orders?q={quote(order_id, safe='')}"

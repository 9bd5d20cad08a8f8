"""Dead letters for tests."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import HistoryEvent

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_numbers = itertools.count(1)


def a_letter(**fields: Any) -> DeadLetterRecord:
    """An open dead letter of an order of its own, as the filing makes them."""
    number = next(_numbers)
    at = fields.get("dead_lettered_at", NOW)
    made: dict[str, Any] = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
        "state": DeadLetterState.OPEN,
        "reason": "supplier_rejected",
        "order_id": f"A-{number}",
        "trace_id": f"trace-{number}",
        "body": b'{"order_id": "A-%d", "destination": "Oslo"}' % number,
        "headers": {"trace_id": f"trace-{number}", "origin_routing_key": "order.placed", "attempt": 3},
        "error_type": "SupplierRejectedError",
        "error_message": "SupplierRejectedError: unknown address",
        "error_chain": ("SupplierRejectedError: unknown address",),
        "fingerprint": "0123456789ab",
        "origin_exchange": "orders",
        "origin_routing_key": "order.placed",
        "first_failed_at": at - timedelta(minutes=1),
        "dead_lettered_at": at,
        "attempts": (HistoryEvent(at=at, event="attempt_failed", attempt=1),),
        "filed": (f"m-{number}:",),
        "history": (LetterEvent(at=at, event="filed", note="supplier_rejected"),),
    }
    return DeadLetterRecord(**{**made, **fields})

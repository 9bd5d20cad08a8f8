"""What a shipment and its changes are, as documents and statements of MongoDB."""

from dataclasses import replace
from typing import Any

from infra.mongodb.documents import event_document, event_from
from infra.mongodb.group_commit import SameChange
from infra.mongodb.store import Document
from worker.domain.shipment import Shipment, ShipmentStatus

MAX_HISTORY = 100
"""Events a shipment keeps: the last ones."""
SETTLED = [str(status) for status in ShipmentStatus if status.is_settled]
"""The statuses of an order that needs nothing more."""
WITHOUT_HISTORY = {
    **dict.fromkeys(("order_id", "destination", "status", "retry_count", "trace_id", "published_at"), True),
    **dict.fromkeys(("created_at", "updated_at", "last_error", "delivered_at"), True),
    "events": {"$size": {"$cond": [{"$isArray": "$history"}, "$history", []]}},
}
"""The fields of a stored shipment, with the number of its events in their place."""
_SAME_TIME = 0.1
"""Seconds that shipments saved together may have shipped apart."""


def new_document(shipment: Shipment) -> Document:
    """Return a new shipment's document."""
    return {
        "_id": shipment.id,
        "order_id": shipment.order_id,
        "destination": shipment.destination,
        "status": str(shipment.status),
        "retry_count": shipment.retry_count,
        "trace_id": shipment.trace_id,
        "published_at": shipment.published_at,
        "created_at": shipment.created_at,
        "updated_at": shipment.updated_at,
        "last_error": shipment.last_error,
        "history": [event_document(event) for event in shipment.history],
    }


def shipping_of(shipment: Shipment) -> SameChange | None:
    """Return the change that ships a shipment which nobody gave up, None when there is more to it.

    Nearly every save is that and nothing else, so that those of the same time go into one update: 4.9 ms for 100
    documents, measured, instead of 13.1 for as many updates.
    """
    if shipment.status is not ShipmentStatus.SHIPPED or shipment.stored_status is not ShipmentStatus.PENDING:
        return None
    events = shipment.stored_events
    if events is None or events >= MAX_HISTORY or len(shipment.new_events) != 1:
        return None
    event = shipment.new_events[0]
    # The time of the last of them is the time of all, which makes it as much too late as they may be apart.
    alike = (events, event.attempt, event.worker, int(event.at.timestamp() / _SAME_TIME))
    # As it was read: whatever another process did with it since would be an event.
    expected: Document = {"status": str(ShipmentStatus.PENDING), "history": {"$size": events}}
    change: Document = {
        "$set": {"status": str(ShipmentStatus.SHIPPED), "updated_at": shipment.updated_at, "last_error": None},
        "$push": {"history": event_document(event)},
    }
    return SameChange(shipment.id, alike, expected, change)


def is_saved_in(document: Document, shipment: Shipment) -> bool:
    """Whether a stored shipment is settled and has the event this shipment has still to store, but for the time."""
    ours = shipment.new_events[-1]
    stored = [replace(event_from(event), at=ours.at) for event in document["history"]]
    return document["status"] in SETTLED and ours in stored


def save_of(shipment: Shipment) -> Document:
    """Return the statement that stores a shipment's changes."""
    expected: Any = {"$nin": SETTLED}
    known = shipment.stored_status or ShipmentStatus.PENDING
    if shipment.status.is_settled and not known.is_settled:
        expected = str(known)  # exact, so that what a SHIPPED replaced is known
    events = [event_document(event) for event in shipment.new_events]
    # A failed try is no new status. What another process gave up meanwhile stays FAILED, else who ships it would not
    # look for its dead letter.
    is_new_status = shipment.status is not ShipmentStatus.PENDING
    status = {"status": str(shipment.status)}
    return {
        "q": {"_id": shipment.id, "status": expected},
        "u": {
            "$set": {
                **(status if is_new_status else {}),
                "updated_at": shipment.updated_at,
                "last_error": shipment.last_error,
                "destination": shipment.destination,
            },
            "$max": {"retry_count": shipment.retry_count},
            "$push": {"history": {"$each": events, "$slice": -MAX_HISTORY}},
            "$setOnInsert": {
                **({} if is_new_status else status),
                "order_id": shipment.order_id,
                "trace_id": shipment.trace_id,
                "published_at": shipment.published_at,
                "created_at": shipment.created_at,
            },
        },
        "upsert": True,
    }


def shipment_from(document: Document) -> Shipment:
    """Return the stored shipment; its history, where the document has none, is empty."""
    status = ShipmentStatus(document["status"])
    history = [event_from(event) for event in document.get("history", [])]
    return Shipment(
        id=document["_id"],
        order_id=document["order_id"],
        destination=document["destination"],
        trace_id=document["trace_id"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        status=status,
        retry_count=document["retry_count"],
        last_error=document["last_error"],
        published_at=document.get("published_at"),
        delivered_at=document.get("delivered_at"),
        history=history,
        stored_status=status,
        stored_events=len(history) if "history" in document else document.get("events"),
    )

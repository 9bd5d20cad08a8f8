"""The shipments in MongoDB."""

from collections.abc import Sequence
from datetime import datetime

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from infra.mongodb.documents import event_document
from infra.mongodb.group_commit import GroupCommit, NotAllChangedError, Verb
from infra.mongodb.group_read import GroupRead
from infra.mongodb.shipment_documents import (
    MAX_HISTORY,
    SETTLED,
    WITHOUT_HISTORY,
    is_saved_in,
    new_document,
    save_of,
    shipment_from,
    shipping_of,
)
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.errors import ShipmentAlreadySettledError
from worker.domain.shipment import HistoryEvent, Shipment, ShipmentStatus

_TRIES = 5
COUNT_BY_STATUS: list[Document] = [
    {"$match": {"status": {"$gte": ""}}},  # any: named so that the index is counted and no shipment is read
    {"$group": {"_id": "$status", "count": {"$sum": 1}}},
]


class MongoShipments:
    """`IRepository` on the collection `shipments`."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("shipments")
        self._group = GroupCommit(store.written("shipments"))
        self._reads = GroupRead(self._collection)
        # Of a majority: what is only at a primary may be rolled back, and as many other events take its place.
        majority = self._collection.with_options(read_concern=ReadConcern("majority"))
        self._known = GroupRead(majority, fields=WITHOUT_HISTORY)
        self._statuses = GroupRead(self._collection, fields={"status": True})
        self._latest = GroupRead(self._collection, fields={"status": True, "history": {"$slice": -2}})

    async def start_shipment(self, shipment: Shipment) -> Shipment:
        """Store the new shipment unless its order has one; return the stored one."""
        # Not an upsert: the server inserts the documents of a write at once, and updates them one by one. Nor a read
        # first: an insert in vain waits for a majority like any other write, and without one nobody is to dispatch.
        with store_errors():
            try:
                await self._group.write(Verb.INSERT, new_document(shipment))
                return _stored(shipment, events_before=0)
            except DuplicateKeyError:
                pass  # a retry, a redelivery, or another worker's
            document = await self._known.get(shipment.id)
        if document is None:
            raise LookupError(f"the order {shipment.order_id!r} has a shipment with a foreign id")
        return shipment_from(document)

    async def save_shipment(self, shipment: Shipment) -> ShipmentStatus:
        """Store the shipment's changes; return the status they replaced."""
        change = shipping_of(shipment)
        may_be_saved = False
        with store_errors():
            if change is not None:
                try:
                    await self._group.write(Verb.UPDATE_ALIKE, change)
                    return _saved(shipment)
                except NotAllChangedError as error:
                    may_be_saved = not error.is_alone
            return await self._save_alone(shipment, may_be_saved=may_be_saved)

    async def _save_alone(self, shipment: Shipment, *, may_be_saved: bool) -> ShipmentStatus:
        for _ in range(_TRIES):
            try:
                await self._group.write(Verb.UPDATE, save_of(shipment))
            except DuplicateKeyError:
                # The filter did not match, so the upsert tried to insert: the stored status is another one.
                document = await self._latest.get(shipment.id)
                if document is None:
                    continue
                if may_be_saved and is_saved_in(document, shipment):
                    return _saved(shipment)
                shipment.stored_status = ShipmentStatus(document["status"])
                if shipment.stored_status.is_settled:
                    raise ShipmentAlreadySettledError(f"{shipment.id} is {shipment.stored_status}") from None
            else:
                return _saved(shipment)
        raise LookupError(f"the shipment {shipment.id} changes too fast to be saved")

    async def mark_delivered(
        self, shipment_id: str, *, delivered_at: datetime, now: datetime, worker: str
    ) -> Shipment | None:
        """Take a SHIPPED shipment to DELIVERED; return it as it was before."""
        shipped = {"_id": shipment_id, "status": str(ShipmentStatus.SHIPPED)}
        event = HistoryEvent(at=now, event="delivered", worker=worker)
        deliver = {
            "$set": {"status": str(ShipmentStatus.DELIVERED), "delivered_at": delivered_at, "updated_at": now},
            "$push": {"history": {"$each": [event_document(event)], "$slice": -MAX_HISTORY}},
        }
        with store_errors():
            for _ in range(_TRIES):
                before = await self._collection.find_one_and_update(shipped, deliver, projection={"history": False})
                if before:
                    return shipment_from(before)
                found = await self._collection.find_one({"_id": shipment_id}, {"history": False})
                if found is None or found["status"] != ShipmentStatus.SHIPPED:
                    return None if found is None else shipment_from(found)
        raise LookupError(f"the shipment {shipment_id} changes too fast to be delivered")

    async def find_shipment(self, shipment_id: str) -> Shipment | None:
        """Return the stored shipment, with its history."""
        document = await self._reads.get(shipment_id)
        return None if document is None else shipment_from(document)

    async def with_trace(self, trace_id: str, *, limit: int) -> list[Shipment]:
        """Return the shipments with this trace ID, oldest first."""
        with store_errors():
            cursor = self._collection.find({"trace_id": {"$eq": trace_id}}).sort("created_at", 1).limit(limit)
            return [shipment_from(document) async for document in cursor]

    async def status_of(self, shipment_id: str) -> ShipmentStatus | None:
        """Return the stored shipment's status."""
        document = await self._statuses.get(shipment_id)
        return None if document is None else ShipmentStatus(document["status"])

    async def settled_among(self, shipment_ids: Sequence[str]) -> set[str]:
        """Return those of the shipments that are SHIPPED or DELIVERED."""
        which = {"_id": {"$in": list(shipment_ids)}, "status": {"$in": SETTLED}}
        with store_errors():
            return {row["_id"] async for row in self._collection.find(which, {"_id": True})}

    async def count_by_status(self) -> dict[str, int]:
        """Return how many shipments there are of each status."""
        with store_errors():
            return {row["_id"]: row["count"] async for row in self._collection.aggregate(COUNT_BY_STATUS)}


def _stored(shipment: Shipment, *, events_before: int | None) -> Shipment:
    shipment.stored_events = None if events_before is None else events_before + len(shipment.new_events)
    shipment.new_events.clear()
    shipment.stored_status = shipment.status
    return shipment


def _saved(shipment: Shipment) -> ShipmentStatus:
    """Note that all changes are stored; return the status they replaced."""
    replaced = shipment.stored_status or ShipmentStatus.PENDING
    _stored(shipment, events_before=shipment.stored_events)
    return replaced

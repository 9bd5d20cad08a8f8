"""Shipments that ship at the same time, on a real MongoDB: saved together, and each exactly."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from worker.domain.shipment import Shipment, ShipmentStatus

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)


class Room:
    """A repository on a store, and a look past it."""

    def __init__(self, store: MongoStore) -> None:
        self.collection = store.collection("shipments")
        self.repository = MongoShipments(store)

    async def updates_so_far(self) -> int:
        """How many update commands the server has carried out."""
        status = await self.collection.database.client.admin.command("serverStatus")
        return int(status["metrics"]["commands"]["update"]["total"])

    async def started(self, count: int) -> list[Shipment]:
        new = [Shipment.for_order(f"A-{number}", "Oslo", trace_id="trace-1", now=NOW) for number in range(count)]
        return await asyncio.gather(*map(self.repository.start_shipment, new))

    async def found(self, shipment: Shipment) -> Shipment:
        found = await self.repository.find_shipment(shipment.id)
        assert found is not None
        return found


@pytest.fixture
async def room(mongo: Mongo) -> AsyncIterator[Room]:
    store = MongoStore(mongo.uri, database=mongo.database)
    await store.ensure_indexes("shipments")
    yield Room(store)
    await store.close()


async def test_a_shipment_says_when_it_shipped_at_most_a_tenth_of_a_second_late(room: Room) -> None:
    shipments = await room.started(200)
    for number, shipment in enumerate(shipments):
        shipment.mark_shipped(now=NOW + timedelta(milliseconds=7 * number), attempt=1, worker="worker-1")
    said = {shipment.id: shipment.updated_at for shipment in shipments}
    before = await room.updates_so_far()
    await asyncio.gather(*map(room.repository.save_shipment, shipments))
    assert await room.updates_so_far() - before <= 2
    for shipment in shipments:
        found = await room.found(shipment)
        assert found.updated_at == found.history[-1].at
        assert timedelta(0) <= found.updated_at - said[shipment.id] < timedelta(seconds=0.1)


async def test_one_that_ships_alone_says_exactly_when(room: Room) -> None:
    (shipment,) = await room.started(1)
    shipment.mark_shipped(now=NOW + timedelta(milliseconds=7), attempt=1, worker="worker-1")
    await room.repository.save_shipment(shipment)
    assert (await room.found(shipment)).history[-1].at == NOW + timedelta(milliseconds=7)


async def test_those_that_failed_as_often_before_ship_together(room: Room) -> None:
    for shipment in await room.started(200):
        shipment.record_failed_try(ValueError("broken"), now=NOW, attempt=1, worker="worker-1", delay=1.0)
        await room.repository.save_shipment(shipment)
    shipments = await room.started(200)
    updates = await room.updates_so_far()
    for shipment in shipments:
        shipment.mark_shipped(now=NOW, attempt=2, worker="worker-1")
    await asyncio.gather(*map(room.repository.save_shipment, shipments))
    assert await room.updates_so_far() - updates <= 2
    shipped = {"status": "SHIPPED", "history": {"$size": 3}, "retry_count": 1, "last_error": None}
    assert await room.collection.count_documents(shipped) == 200


async def test_one_that_somebody_deleted_meanwhile_is_stored_again_and_the_others_as_well(room: Room) -> None:
    shipments = await room.started(10)
    await room.collection.delete_one({"_id": shipments[4].id})
    for shipment in shipments:
        shipment.mark_shipped(now=NOW, attempt=1, worker="worker-1")
    told = await asyncio.gather(*map(room.repository.save_shipment, shipments))
    assert told == [ShipmentStatus.PENDING] * 10
    assert {(await room.found(shipment)).status for shipment in shipments} == {ShipmentStatus.SHIPPED}


async def test_one_that_cannot_be_changed_takes_none_of_the_others_along(room: Room) -> None:
    """The server stops in the middle of the common update, and says nothing of those it had changed before."""
    shipments = await room.started(10)
    await room.collection.update_one({"_id": sorted(one.id for one in shipments)[5]}, {"$set": {"trace_id": 1}})
    validator = {"$jsonSchema": {"properties": {"trace_id": {"bsonType": "string"}}}}
    await room.collection.database.command({"collMod": "shipments", "validator": validator})
    for shipment in shipments:
        shipment.mark_shipped(now=NOW, attempt=1, worker="worker-1")
    told = await asyncio.gather(*map(room.repository.save_shipment, shipments), return_exceptions=True)
    assert told.count(ShipmentStatus.PENDING) == 9
    statuses = [document["status"] async for document in room.collection.find()]
    assert sorted(statuses) == ["PENDING", *["SHIPPED"] * 9]


async def test_more_than_one_write_can_hold_are_all_shipped(room: Room) -> None:
    shipments = await room.started(1_200)
    for shipment in shipments:
        shipment.mark_shipped(now=NOW, attempt=1, worker="worker-1")
    told = await asyncio.gather(*map(room.repository.save_shipment, shipments))
    assert told == [ShipmentStatus.PENDING] * 1_200
    assert await room.collection.count_documents({"status": "SHIPPED", "history": {"$size": 2}}) == 1_200

"""What `IRepository` promises, checked on the fake and on MongoDB alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.ports import free_ports
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from tests.support.fake_ports import FakeRepository
from tests.support.store_away import close_store_that_is_away
from worker.domain.errors import ShipmentAlreadySettledError, StoreUnavailableError
from worker.domain.ports import IRepository
from worker.domain.shipment import Shipment, ShipmentStatus

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
PUBLISHED = NOW - timedelta(milliseconds=42)
LATER = NOW + timedelta(seconds=5)
ARRIVED = NOW + timedelta(days=2)
WORKER = "worker-1"


@dataclass
class Room:
    """A repository, a second process' view of the same store, and one whose store is away."""

    repository: IRepository
    elsewhere: IRepository
    unreachable: IRepository


@pytest.fixture(params=["fake", "mongo"])
async def room(request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    if request.param == "fake":
        fake, unreachable = FakeRepository(), FakeRepository()
        unreachable.is_down = True
        yield Room(fake, fake, unreachable)
        return
    mongo = request.getfixturevalue("mongo")
    async with _opened(mongo.uri, mongo.database) as one, _opened(mongo.uri, mongo.database) as other:
        await one.ensure_indexes()
        nowhere = f"mongodb://127.0.0.1:{free_ports(1)[0]}/?directConnection=true"
        closed = MongoStore(nowhere, database="nowhere", timeout=0.3)
        yield Room(MongoShipments(one), MongoShipments(other), MongoShipments(closed))
        await close_store_that_is_away(closed)


@asynccontextmanager
async def _opened(uri: str, database: str) -> AsyncIterator[MongoStore]:
    store = MongoStore(uri, database=database)
    try:
        yield store
    finally:
        await store.close()


def a_shipment(order_id: str = "A-1", *, destination: str = "Oslo", trace_id: str = "trace-1") -> Shipment:
    return Shipment.for_order(order_id, destination, trace_id=trace_id, now=NOW, published_at=PUBLISHED)


async def stored(room: Room, shipment: Shipment) -> Shipment:
    found = await room.elsewhere.find_shipment(shipment.id)
    assert found is not None
    return found


async def fail(repository: IRepository, shipment: Shipment, *, tries: int = 1) -> ShipmentStatus:
    for number in range(tries):
        shipment.record_failed_try(ValueError("broken"), now=LATER, attempt=number + 1, worker=WORKER)
    shipment.mark_failed(ValueError("broken"), now=LATER, attempt=tries, worker=WORKER)
    return await repository.save_shipment(shipment)


async def ship(repository: IRepository, shipment: Shipment) -> ShipmentStatus:
    shipment.mark_shipped(now=LATER, attempt=1, worker=WORKER)
    return await repository.save_shipment(shipment)


async def deliver(repository: IRepository, shipment_id: str, *, at: datetime = ARRIVED) -> Shipment | None:
    return await repository.mark_delivered(shipment_id, delivered_at=at, now=LATER, worker=WORKER)


async def test_a_shipment_that_was_never_stored_is_not_found(room: Room) -> None:
    assert await room.repository.find_shipment(a_shipment().id) is None


async def test_a_new_shipment_is_stored_whole(room: Room) -> None:
    started = await room.repository.start_shipment(a_shipment(destination="Þórshöfn 🚚"))
    assert (started.status, started.stored_status, started.new_events) == (
        ShipmentStatus.PENDING,
        ShipmentStatus.PENDING,
        [],
    )
    found = await stored(room, started)
    expected = a_shipment(destination="Þórshöfn 🚚")
    expected.new_events, expected.stored_status = [], ShipmentStatus.PENDING
    assert found == expected


async def test_an_order_that_has_a_shipment_gets_the_stored_one(room: Room) -> None:
    first = await room.repository.start_shipment(a_shipment())
    await fail(room.repository, first, tries=3)
    again = await room.elsewhere.start_shipment(a_shipment(destination="Bergen", trace_id="another"))
    assert (again.status, again.stored_status) == (ShipmentStatus.FAILED, ShipmentStatus.FAILED)
    assert (again.destination, again.trace_id, again.retry_count) == ("Oslo", "trace-1", 3)
    assert again.last_error == "ValueError: broken"
    assert again.new_events == []


async def test_copies_that_start_at_the_same_time_are_one_shipment(room: Room) -> None:
    sides = [room.repository, room.elsewhere] * 10
    started = await asyncio.gather(*(side.start_shipment(a_shipment()) for side in sides))
    assert {shipment.id for shipment in started} == {a_shipment().id}
    assert [event.event for event in (await stored(room, a_shipment())).history] == ["received"]


async def test_a_save_stores_status_count_error_and_events(room: Room) -> None:
    shipment = await room.repository.start_shipment(a_shipment())
    shipment.record_failed_try(ValueError("broken"), now=LATER, attempt=1, worker=WORKER, delay=5.0)
    await room.repository.save_shipment(shipment)
    assert shipment.new_events == []
    found = await stored(room, shipment)
    assert (found.status, found.retry_count, found.last_error) == (ShipmentStatus.PENDING, 1, "ValueError: broken")
    assert (found.created_at, found.updated_at) == (NOW, LATER)
    assert found.history == shipment.history
    assert found.history[-1].delay == 5.0


async def test_shipping_clears_the_error_and_keeps_the_count(room: Room) -> None:
    shipment = await room.repository.start_shipment(a_shipment())
    shipment.record_failed_try(ValueError("broken"), now=NOW, attempt=1, worker=WORKER)
    await room.repository.save_shipment(shipment)
    await ship(room.repository, shipment)
    found = await stored(room, shipment)
    assert (found.status, found.retry_count, found.last_error) == (ShipmentStatus.SHIPPED, 1, None)


async def test_retry_count_never_goes_down_and_events_are_only_added(room: Room) -> None:
    ahead = await room.repository.start_shipment(a_shipment())
    behind = await room.elsewhere.start_shipment(a_shipment())
    await fail(room.repository, ahead, tries=3)
    behind.record_failed_try(ValueError("other"), now=LATER, attempt=1, worker="worker-2")
    await room.elsewhere.save_shipment(behind)
    found = await stored(room, ahead)
    assert found.retry_count == 3
    assert [event.worker for event in found.history] == [None, *[WORKER] * 4, "worker-2"]


async def test_the_history_keeps_the_newest_hundred_events(room: Room) -> None:
    shipment = await room.repository.start_shipment(a_shipment())
    await fail(room.repository, shipment, tries=130)
    found = await stored(room, shipment)
    assert found.retry_count == 130
    assert len(found.history) == 100
    assert found.history[-1].event == "failed"


async def test_a_save_without_a_start_stores_the_shipment(room: Room) -> None:
    shipment = a_shipment()
    await fail(room.repository, shipment)
    found = await stored(room, shipment)
    assert (found.order_id, found.destination, found.status) == ("A-1", "Oslo", ShipmentStatus.FAILED)
    assert [event.event for event in found.history] == ["received", "attempt_failed", "failed"]


@pytest.mark.parametrize("settled", [ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED])
async def test_a_settled_shipment_is_never_taken_back(room: Room, settled: ShipmentStatus) -> None:
    late = await room.elsewhere.start_shipment(a_shipment())
    shipment = await room.repository.start_shipment(a_shipment())
    shipment.mark_shipped(now=LATER, attempt=1, worker=WORKER)
    shipment.status = settled
    await room.repository.save_shipment(shipment)
    before = await stored(room, shipment)
    with pytest.raises(ShipmentAlreadySettledError):
        await fail(room.elsewhere, late)
    assert await stored(room, shipment) == before


async def test_what_is_shipped_is_not_shipped_again(room: Room) -> None:
    late = await room.elsewhere.start_shipment(a_shipment())
    shipment = await room.repository.start_shipment(a_shipment())
    await ship(room.repository, shipment)
    before = await stored(room, shipment)
    for side, which in ((room.elsewhere, late), (room.repository, shipment), (room.repository, before)):
        with pytest.raises(ShipmentAlreadySettledError):
            await ship(side, which)
    assert [event.event for event in (await stored(room, shipment)).history] == ["received", "shipped"]


async def test_of_two_that_ship_at_once_one_is_told_it_was_late(room: Room) -> None:
    copies = [await side.start_shipment(a_shipment()) for side in (room.repository, room.elsewhere)]
    results = await asyncio.gather(
        ship(room.repository, copies[0]), ship(room.elsewhere, copies[1]), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["ShipmentAlreadySettledError", "ShipmentStatus"]


async def test_of_many_that_ship_at_once_each_is_told_what_became_of_its_own(room: Room) -> None:
    """One was given up by another process meanwhile, one shipped, one delivered: that changes nothing for the rest."""
    shipments = [await room.repository.start_shipment(a_shipment(f"A-{number}")) for number in range(30)]
    given_up, shipped, delivered = [await stored(room, shipments[number]) for number in (3, 7, 20)]
    await fail(room.elsewhere, given_up)
    for other in (shipped, delivered):
        other.mark_shipped(now=LATER, attempt=1, worker="worker-2")
        await room.elsewhere.save_shipment(other)
    await deliver(room.elsewhere, delivered.id)
    told = await asyncio.gather(*(ship(room.repository, one) for one in shipments), return_exceptions=True)
    late = [number for number, answer in enumerate(told) if isinstance(answer, ShipmentAlreadySettledError)]
    assert late == [7, 20]
    assert told[3] is ShipmentStatus.FAILED
    assert [answer for number, answer in enumerate(told) if number not in (3, 7, 20)] == [ShipmentStatus.PENDING] * 27
    for number, shipment in enumerate(shipments):
        found = await stored(room, shipment)
        assert found.status is (ShipmentStatus.DELIVERED if number == 20 else ShipmentStatus.SHIPPED)
        assert [event.event for event in found.history].count("shipped") == 1
        assert {event.worker for event in found.history if event.event == "shipped"} == {
            "worker-2" if number in (7, 20) else WORKER
        }


async def test_the_destination_of_who_ships_counts_whatever_another_process_wrote_meanwhile(room: Room) -> None:
    shipments = [await room.repository.start_shipment(a_shipment(f"A-{number}")) for number in range(3)]
    corrected = await stored(room, shipments[1])
    corrected.redirect("Bergen", now=NOW)
    await room.elsewhere.save_shipment(corrected)
    told = await asyncio.gather(*(ship(room.repository, shipment) for shipment in shipments))
    assert told == [ShipmentStatus.PENDING] * 3
    assert [(await stored(room, shipment)).destination for shipment in shipments] == ["Oslo"] * 3


async def test_a_failed_try_of_an_older_copy_does_not_hide_that_it_was_given_up(room: Room) -> None:
    older = await room.repository.start_shipment(a_shipment())
    await fail(room.elsewhere, await stored(room, older))
    older.record_failed_try(ValueError("late"), now=LATER, attempt=1, worker="worker-2")
    await room.repository.save_shipment(older)
    found = await stored(room, older)
    assert (found.status, found.retry_count) == (ShipmentStatus.FAILED, 1)
    assert [event.event for event in found.history] == ["received", "attempt_failed", "failed", "attempt_failed"]
    assert await ship(room.repository, older) is ShipmentStatus.FAILED


async def test_of_many_that_ship_at_once_each_keeps_its_number_of_tries(room: Room) -> None:
    shipments = [await room.repository.start_shipment(a_shipment(f"A-{number}")) for number in range(20)]
    for shipment in shipments[::2]:
        shipment.record_failed_try(ValueError("broken"), now=NOW, attempt=1, worker=WORKER)
        await room.repository.save_shipment(shipment)
    for number, shipment in enumerate(shipments):
        shipment.mark_shipped(now=LATER, attempt=1 if number % 2 else 2, worker=WORKER)
    await asyncio.gather(*map(room.repository.save_shipment, shipments))
    found = [await stored(room, shipment) for shipment in shipments]
    assert [one.retry_count for one in found] == [1, 0] * 10
    assert [one.history[-1].attempt for one in found] == [2, 1] * 10
    assert {one.last_error for one in found} == {None}
    assert {one.updated_at for one in found} == {LATER}


async def test_of_many_that_ship_at_a_second_try_each_is_told_what_another_process_did(room: Room) -> None:
    """One was tried once more by another process meanwhile, one given up, one redirected, one shipped."""
    for number in range(20):
        first = await room.repository.start_shipment(a_shipment(f"A-{number}"))
        first.record_failed_try(ValueError("broken"), now=NOW, attempt=1, worker=WORKER)
        await room.repository.save_shipment(first)
    again = [a_shipment(f"A-{number}") for number in range(20)]
    shipments = [await room.repository.start_shipment(one) for one in again]
    tried, given_up, redirected, shipped = [await stored(room, shipments[number]) for number in (3, 7, 11, 15)]
    tried.record_failed_try(ValueError("broken"), now=NOW, attempt=2, worker="worker-2")
    redirected.redirect("Bergen", now=NOW)
    shipped.mark_shipped(now=NOW, attempt=2, worker="worker-2")
    for other in (tried, redirected, shipped):
        await room.elsewhere.save_shipment(other)
    await fail(room.elsewhere, given_up)
    told = await asyncio.gather(*(ship(room.repository, one) for one in shipments), return_exceptions=True)
    assert isinstance(told.pop(15), ShipmentAlreadySettledError)
    assert told.pop(7) is ShipmentStatus.FAILED
    assert told == [ShipmentStatus.PENDING] * 18
    found = [await stored(room, one) for one in shipments]
    assert {(one.status, one.destination, one.last_error) for one in found} == {(ShipmentStatus.SHIPPED, "Oslo", None)}
    assert [[event.event for event in one.history].count("shipped") for one in found] == [1] * 20
    assert [one.retry_count for one in found] == [2 if number in (3, 7) else 1 for number in range(20)]


async def test_a_shipment_with_as_many_events_as_are_kept_still_ships(room: Room) -> None:
    for tries in (98, 99, 100):
        shipment = await room.repository.start_shipment(a_shipment(f"A-{tries}"))
        for number in range(tries):
            shipment.record_failed_try(ValueError("broken"), now=NOW, attempt=number + 1, worker=WORKER)
        await room.repository.save_shipment(shipment)
        read = await room.elsewhere.start_shipment(a_shipment(f"A-{tries}"))
        assert await ship(room.elsewhere, read) is ShipmentStatus.PENDING
        found = await stored(room, shipment)
        assert (found.status, len(found.history), found.history[-1].event) == (ShipmentStatus.SHIPPED, 100, "shipped")


async def test_shipping_returns_the_status_it_replaced(room: Room) -> None:
    pending = await room.repository.start_shipment(a_shipment("A-1"))
    assert await ship(room.repository, pending) is ShipmentStatus.PENDING
    failed = await room.repository.start_shipment(a_shipment("A-2"))
    await fail(room.repository, failed)
    assert await ship(room.repository, failed) is ShipmentStatus.FAILED


async def test_the_replaced_status_is_exact_when_another_process_gave_up_meanwhile(room: Room) -> None:
    shipping = await room.repository.start_shipment(a_shipment())
    await fail(room.elsewhere, await room.elsewhere.start_shipment(a_shipment()))
    assert await ship(room.repository, shipping) is ShipmentStatus.FAILED


async def test_the_replaced_status_is_exact_for_a_shipment_that_was_never_read(room: Room) -> None:
    await fail(room.elsewhere, await room.elsewhere.start_shipment(a_shipment()))
    assert await ship(room.repository, a_shipment()) is ShipmentStatus.FAILED


async def test_an_order_whose_shipment_has_a_foreign_id_is_refused_and_nothing_stored(room: Room) -> None:
    foreign = a_shipment()
    foreign.id = "made-by-somebody-else"
    await room.repository.start_shipment(foreign)
    with pytest.raises(LookupError, match="A-1"):
        await room.elsewhere.start_shipment(a_shipment())
    assert await room.repository.find_shipment(a_shipment().id) is None


async def test_a_store_that_is_away_says_so_at_every_call(room: Room) -> None:
    shipment = a_shipment()
    with pytest.raises(StoreUnavailableError):
        await room.unreachable.start_shipment(shipment)
    with pytest.raises(StoreUnavailableError):
        await room.unreachable.save_shipment(shipment)
    with pytest.raises(StoreUnavailableError):
        await room.unreachable.find_shipment(shipment.id)
    with pytest.raises(StoreUnavailableError):
        await deliver(room.unreachable, shipment.id)
    assert [event.event for event in shipment.new_events] == ["received"]  # still to be stored


async def test_a_corrected_destination_is_stored(room: Room) -> None:
    shipment = await room.repository.start_shipment(a_shipment(destination="Oslo"))
    shipment.redirect("Bergen", now=LATER)
    await room.repository.save_shipment(shipment)
    assert (await stored(room, shipment)).destination == "Bergen"


async def test_a_shipped_shipment_is_delivered_with_its_time_and_one_event(room: Room) -> None:
    shipment = await room.repository.start_shipment(a_shipment())
    shipment.record_failed_try(ValueError("broken"), now=NOW, attempt=1, worker=WORKER)
    await room.repository.save_shipment(shipment)
    await ship(room.repository, shipment)
    before = await deliver(room.elsewhere, shipment.id)
    assert before is not None
    assert (before.status, before.stored_status, before.delivered_at) == (*[ShipmentStatus.SHIPPED] * 2, None)
    assert (before.order_id, before.trace_id, before.retry_count, before.history) == ("A-1", "trace-1", 1, [])
    found = await stored(room, shipment)
    assert (found.status, found.delivered_at, found.updated_at) == (ShipmentStatus.DELIVERED, ARRIVED, LATER)
    assert (found.retry_count, found.destination) == (1, "Oslo")
    assert [event.event for event in found.history] == ["received", "attempt_failed", "shipped", "delivered"]
    assert (found.history[-1].at, found.history[-1].worker) == (LATER, WORKER)


async def test_delivering_again_changes_nothing_and_tells(room: Room) -> None:
    shipment = await room.repository.start_shipment(a_shipment())
    await ship(room.repository, shipment)
    await deliver(room.repository, shipment.id)
    once = await stored(room, shipment)
    again = await deliver(room.elsewhere, shipment.id, at=ARRIVED + timedelta(days=1))
    assert again is not None
    assert (again.status, again.delivered_at) == (ShipmentStatus.DELIVERED, ARRIVED)
    assert await stored(room, shipment) == once


@pytest.mark.parametrize("failed", [False, True])
async def test_what_is_not_shipped_is_not_delivered(room: Room, failed: bool) -> None:
    shipment = await room.repository.start_shipment(a_shipment())
    if failed:
        await fail(room.repository, shipment)
    before = await stored(room, shipment)
    told = await deliver(room.elsewhere, shipment.id)
    assert told is not None
    assert told.status is (ShipmentStatus.FAILED if failed else ShipmentStatus.PENDING)
    assert await stored(room, shipment) == before


async def test_what_is_not_there_is_not_delivered_and_not_made(room: Room) -> None:
    assert await deliver(room.repository, a_shipment().id) is None
    assert await room.repository.find_shipment(a_shipment().id) is None


async def test_of_many_that_deliver_at_once_one_did_it(room: Room) -> None:
    shipment = await room.repository.start_shipment(a_shipment())
    await ship(room.repository, shipment)
    told = await asyncio.gather(*(deliver(side, shipment.id) for side in [room.repository, room.elsewhere] * 10))
    assert sorted(str(before and before.status) for before in told) == ["DELIVERED"] * 19 + ["SHIPPED"]
    assert [event.event for event in (await stored(room, shipment)).history] == ["received", "shipped", "delivered"]


async def test_shipping_and_delivering_at_once_leaves_no_shipment_that_says_it_was_delivered_and_is_not(
    room: Room,
) -> None:
    for number in range(20):
        shipment = await room.repository.start_shipment(a_shipment(f"A-{number}"))
        _, before = await asyncio.gather(ship(room.repository, shipment), deliver(room.elsewhere, shipment.id))
        assert before is not None
        delivered = before.status is ShipmentStatus.SHIPPED
        expected = ShipmentStatus.DELIVERED if delivered else ShipmentStatus.SHIPPED
        assert (await stored(room, shipment)).status is expected

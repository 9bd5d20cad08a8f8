"""Filing dead letters, with fakes: once, with every try, and in agreement with the shipment."""

from datetime import timedelta

import pytest

from consumers.dead_letters import DeadLetterConsumer
from tests.support.fake_ports import FakeRepository
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.delivery import Delivery, MessageState
from worker.domain.errors import MalformedOrderError, StoreUnavailableError, SupplierRejectedError
from worker.domain.filing import ABANDONED_AFTER, DeadLetterFiling
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment, ShipmentStatus

BODY = b'{"order_id": "A-1", "destination": "Oslo"}'
NO = SupplierRejectedError("unknown address")
OPEN, REPLAYING, RESOLVED = DeadLetterState.OPEN, DeadLetterState.REPLAYING, DeadLetterState.RESOLVED


def dead(body: bytes = BODY, reason: DeadLetterReason = DeadLetterReason.SUPPLIER_REJECTED, **more: object) -> Delivery:
    """A message as a worker dead-letters it."""
    order_id = "A-1" if b"A-1" in body else None
    given = Delivery(body, {"attempt": 2, **more}, "m-1", "orders", "order.placed")
    state = MessageState.read(given, order_id=order_id)
    error = MalformedOrderError("no") if reason is DeadLetterReason.MALFORMED else NO
    headers = state.headers_after(DeadLetter(reason, error), now=0, body=body, order_id=order_id)
    return Delivery(body, headers, "m-2", "orders.dead-letter", "")


def given_up_by_the_broker(reason: str = "delivery_limit") -> Delivery:
    """A message that the broker handed out too often, or that was rejected: without headers of ours."""
    death = {"reason": reason, "queue": "orders.work", "exchange": "orders", "routing-keys": ["order.placed"]}
    return Delivery(BODY, {"x-death": [death], "x-delivery-count": 21}, "m-1", "orders.dead-letter", "order.placed")


class Room:
    """A filing and what it works on."""

    def __init__(self) -> None:
        self.letters, self.repository = FakeDeadLetters(), FakeRepository()
        self.filing = DeadLetterFiling(
            dead_letters=self.letters, repository=self.repository, worker_name="worker-1", clock=lambda: NOW
        )

    async def has_shipment(self, status: ShipmentStatus = ShipmentStatus.PENDING, *, failed_tries: int = 0) -> Shipment:
        shipment = Shipment.for_order("A-1", "Oslo", trace_id="t", now=NOW)
        for number in range(failed_tries):
            shipment.record_failed_try(NO, now=NOW, attempt=number + 1, worker="worker-0")
        shipment.status = status
        await self.repository.save_shipment(shipment)
        return shipment

    def status(self) -> ShipmentStatus:
        (shipment,) = self.repository.shipments.values()
        return shipment.status

    def letter(self) -> DeadLetterRecord:
        (letter,) = self.letters.letters.values()
        return letter


async def test_a_dead_letter_is_filed_whole() -> None:
    room = Room()
    await room.has_shipment(ShipmentStatus.FAILED, failed_tries=3)
    filed = await room.filing.file(dead(trace_id="trace-7"))
    assert filed == room.letter()
    assert (filed.state, filed.reason, filed.order_id, filed.trace_id) == (OPEN, "supplier_rejected", "A-1", "trace-7")
    assert (filed.body, filed.origin_exchange, filed.origin_routing_key) == (BODY, "orders", "order.placed")
    assert (filed.error_type, filed.error_message) == ("SupplierRejectedError", f"SupplierRejectedError: {NO}")
    assert [attempt.attempt for attempt in filed.attempts] == [1, 2, 3]


async def test_the_same_message_filed_twice_changes_nothing() -> None:
    room = Room()
    first = await room.filing.file(dead())
    assert await room.filing.file(dead()) == first == room.letter()


async def test_a_pending_shipment_is_marked_failed() -> None:
    room = Room()
    await room.has_shipment()
    await room.filing.file(given_up_by_the_broker())
    assert room.status() is ShipmentStatus.FAILED
    (shipment,) = room.repository.shipments.values()
    assert (shipment.history[-1].event, shipment.history[-1].error_type) == ("failed", "delivery_limit")


async def test_what_the_broker_gave_up_on_says_so_and_counts_the_tries_before() -> None:
    room = Room()
    await room.has_shipment(failed_tries=2)
    filed = await room.filing.file(given_up_by_the_broker())
    assert (filed.reason, filed.error_type) == ("delivery_limit", "DeliveryLimitExceeded")
    assert (filed.origin_exchange, filed.origin_routing_key) == ("orders", "order.placed")
    assert [(attempt.event, attempt.attempt) for attempt in filed.attempts][1:] == [
        ("attempt_failed", 2),
        ("delivery_limit", 3),
    ]


async def test_a_message_that_a_worker_rejected_says_so() -> None:
    filed = await Room().filing.file(given_up_by_the_broker("rejected"))
    assert (filed.reason, filed.error_type) == ("unknown", "MessageRejected")
    assert filed.error_message == (
        "rejected, perhaps because it is too large to be published again, in the queue orders.work"
    )
    assert (filed.origin_exchange, filed.origin_routing_key) == ("orders", "order.placed")


@pytest.mark.parametrize("settled", [ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED])
async def test_an_order_that_was_shipped_before_its_letter_is_filed_leaves_no_open_letter(
    settled: ShipmentStatus,
) -> None:
    room = Room()
    await room.has_shipment(settled)
    await room.filing.file(dead())
    assert (room.letter().state, room.status()) == (RESOLVED, settled)


@pytest.mark.parametrize("moment", ["insert", "find_shipment", "save_shipment"])
async def test_an_order_that_ships_while_its_letter_is_filed_leaves_no_open_letter(moment: str) -> None:
    # By a worker that dies before it can look for letters.
    room = Room()
    shipping = await room.has_shipment()
    shipping.mark_shipped(now=NOW, attempt=1, worker="worker-2")

    async def ship(name: str) -> None:
        if name == moment and shipping.new_events:
            room.repository.before = room.letters.before_write = None
            await room.repository.save_shipment(shipping)

    room.repository.before = room.letters.before_write = ship
    await room.filing.file(dead())
    assert (room.letter().state, room.status()) == (RESOLVED, ShipmentStatus.SHIPPED)


async def test_an_order_that_ships_after_its_letter_is_filed_finds_the_letter() -> None:
    room = Room()
    shipping = await room.has_shipment()
    await room.filing.file(dead())
    shipping.mark_shipped(now=NOW, attempt=1, worker="worker-2")
    assert await room.repository.save_shipment(shipping) is ShipmentStatus.FAILED
    assert await room.letters.resolve(order_id="A-1", letter_id=None, now=NOW) == 1


@pytest.mark.parametrize("body", [b"not JSON", b'{"order_id": "A-1", "destination": ""}'])
async def test_a_malformed_body_is_filed_and_touches_no_shipment(body: bytes) -> None:
    room = Room()
    await room.has_shipment(failed_tries=2)
    filed = await room.filing.file(dead(body, DeadLetterReason.MALFORMED))
    assert (filed.reason, filed.body, filed.state) == ("malformed", body, OPEN)
    assert (room.status(), len(filed.attempts)) == (ShipmentStatus.PENDING, 1)


async def test_a_malformed_letter_of_a_shipped_order_stays_open() -> None:
    room = Room()
    await room.has_shipment(ShipmentStatus.SHIPPED)
    filed = await room.filing.file(dead(b'{"order_id": "A-1"}', DeadLetterReason.MALFORMED))
    assert (filed.order_id, room.letter().state) == ("A-1", OPEN)


async def test_what_somebody_put_there_is_filed_with_what_is_known() -> None:
    room = Room()
    filed = await room.filing.file(Delivery(b"\xff", {"dead_letter_reason": "because"}, None, "", "orders.dlq"))
    assert (filed.reason, filed.order_id, filed.error_type) == ("unknown", None, "Unknown")


async def test_a_replay_that_failed_again_reopens_its_letter_and_is_counted() -> None:
    room = Room()
    first = await room.filing.file(dead())
    replay_id = "11111111-2222-3333-4444-555555555555"
    assert await room.letters.claim_for_replay(first.id, replay_id=replay_id, by="anna", now=NOW)
    again = dead(
        dead_letter_id=first.id, replay_id=replay_id, origin_message_id="m-9", origin_routing_key="order.placed"
    )
    filed = await room.filing.file(again)
    assert (filed.id, filed.state, filed.replay_count) == (first.id, OPEN, 1)
    assert [event.event for event in room.letter().history] == ["filed", "replayed", "failed_again"]


async def test_a_letter_that_changes_while_it_is_filed_loses_neither_change() -> None:
    room = Room()
    first = await room.filing.file(dead())

    async def somebody_else(name: str) -> None:
        if name == "replace":
            room.letters.before_write = None
            await room.letters.claim_for_replay(first.id, replay_id="r", by="anna", now=NOW)

    room.letters.before_write = somebody_else
    await room.filing.file(dead(origin_message_id="m-9", origin_routing_key="order.placed"))
    assert room.letter().state is REPLAYING
    assert [event.event for event in room.letter().history] == ["filed", "replayed", "failed_again"]


async def test_a_replay_nobody_confirmed_is_reopened_after_a_while() -> None:
    room = Room()
    filed = await room.filing.file(dead())
    await room.letters.claim_for_replay(filed.id, replay_id="r", by="anna", now=NOW - ABANDONED_AFTER)
    assert await room.filing.reopen_abandoned() == 0
    await room.letters.give_back(filed.id, replay_id="r", now=NOW)
    earlier = NOW - ABANDONED_AFTER - timedelta(seconds=1)
    await room.letters.claim_for_replay(filed.id, replay_id="r", by="anna", now=earlier)
    assert await room.filing.reopen_abandoned() == 1
    assert room.letter().state is OPEN


async def test_the_consumer_acknowledges_what_is_filed() -> None:
    room = Room()
    assert await DeadLetterConsumer(filing=room.filing).handle(dead()) == Ack("filed")


async def test_the_reason_of_what_is_filed_is_told_and_of_nothing_else() -> None:
    room, told = Room(), list[str]()
    consumer = DeadLetterConsumer(filing=room.filing, on_filed=told.append)
    await consumer.handle(dead())

    async def fail(_: str) -> None:
        raise StoreUnavailableError("away")

    room.letters.before_write = fail
    await consumer.handle(dead())
    assert told == [room.letter().reason]


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), LookupError("nonsense")])
@pytest.mark.parametrize("where", ["insert", "find_shipment", "save_shipment", "resolve"])
async def test_the_consumer_keeps_what_cannot_be_filed_and_files_it_later(where: str, error: Exception) -> None:
    room = Room()
    await room.has_shipment(ShipmentStatus.SHIPPED if where == "resolve" else ShipmentStatus.PENDING)

    async def fail(name: str) -> None:
        if name == where:
            raise error

    room.repository.before = room.letters.before_write = fail
    consumer = DeadLetterConsumer(filing=room.filing)
    assert await consumer.handle(dead()) == Defer(queue="", error=error, not_before=0)
    room.repository.before = room.letters.before_write = None
    assert await consumer.handle(dead()) == Ack("filed")
    expected = (RESOLVED, ShipmentStatus.SHIPPED) if where == "resolve" else (OPEN, ShipmentStatus.FAILED)
    assert (room.letter().state, room.status()) == expected

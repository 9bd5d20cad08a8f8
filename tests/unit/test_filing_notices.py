"""Filing the dead letters of delivery notices: each is its own letter, and no order's shipment is touched."""

import json
import uuid

import pytest

from tests.support.fake_ports import FakeRepository
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.dead_letter_reading import kind_of
from worker.domain.delivery import Delivery, MessageState
from worker.domain.errors import MalformedNoticeError, UnknownShipmentError
from worker.domain.filing import DeadLetterFiling
from worker.domain.outcome import DeadLetter, DeadLetterReason
from worker.domain.replay import Origin, origin_of, replay_headers
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment, ShipmentStatus, shipment_id_for

ID = shipment_id_for("A-1")
BY_ORDER = b'{"order_id": "A-1", "delivered_at": 1772366400000}'
BY_SHIPMENT = json.dumps({"shipment_id": ID, "delivered_at": 1_772_366_400_000}).encode()
ORDERS = Origin("orders", "order.placed")
NOTICES = Origin("shipments", "shipment.delivered")
FAILED, SHIPPED = ShipmentStatus.FAILED, ShipmentStatus.SHIPPED


def dead(
    body: bytes = BY_ORDER, reason: DeadLetterReason = DeadLetterReason.UNKNOWN_SHIPMENT, **more: object
) -> Delivery:
    """A notice as a worker dead-letters it."""
    state = MessageState.read(Delivery(body, more, "m-1", "shipments", "shipment.delivered"), order_id=None)
    malformed = reason is DeadLetterReason.MALFORMED
    error = MalformedNoticeError("no") if malformed else UnknownShipmentError("no such shipment")
    headers = state.headers_after(DeadLetter(reason, error), now=0, body=body, order_id=None, is_notice=True)
    return Delivery(body, headers, "m-2", "orders.dead-letter", "")


def given_up_by_the_broker(body: bytes = BY_ORDER, *, exchange: str = "shipments", **headers: object) -> Delivery:
    """A notice that the broker handed out too often: without headers of ours."""
    death = {"reason": "delivery_limit", "queue": "shipments.delivered", "exchange": exchange}
    death["routing-keys"] = ["shipment.delivered"]  # type: ignore[assignment] # as the broker writes it
    return Delivery(body, {"x-death": [death], **headers}, "m-1", "orders.dead-letter", "shipment.delivered")


class Room:
    """A filing and what it works on."""

    def __init__(self) -> None:
        self.letters, self.repository = FakeDeadLetters(), FakeRepository()
        self.filing = DeadLetterFiling(
            dead_letters=self.letters, repository=self.repository, worker_name="worker-1", clock=lambda: NOW
        )

    async def has_shipment(self, status: ShipmentStatus) -> Shipment:
        shipment = Shipment.for_order("A-1", "Oslo", trace_id="trace-of-the-order", now=NOW)
        shipment.record_failed_try(ValueError("then"), now=NOW, attempt=1, worker="worker-0")
        shipment.status = status
        await self.repository.save_shipment(shipment)
        return self.repository.shipments[ID]

    def letter(self) -> DeadLetterRecord:
        (letter,) = self.letters.letters.values()
        return letter


@pytest.mark.parametrize("status", ShipmentStatus)
@pytest.mark.parametrize(
    "message",
    [dead(), dead(BY_SHIPMENT, DeadLetterReason.EXPIRED), dead(b'{"order_id": "A-1"}', DeadLetterReason.MALFORMED)],
)
async def test_a_notice_s_letter_leaves_the_shipment_alone_and_stays_open(
    message: Delivery, status: ShipmentStatus
) -> None:
    room = Room()
    before = await room.has_shipment(status)
    filed = await room.filing.file(message)
    assert filed == room.letter()
    assert (filed.kind, filed.state, filed.order_id) == (LetterKind.DELIVERED, DeadLetterState.OPEN, "A-1")
    assert (filed.origin_exchange, filed.origin_routing_key) == ("shipments", "shipment.delivered")
    assert [(attempt.event, attempt.attempt) for attempt in filed.attempts] == [(filed.reason, 1)]
    assert room.repository.shipments[ID] == before


async def test_a_notice_of_an_unknown_shipment_makes_none() -> None:
    room = Room()
    filed = await room.filing.file(dead(BY_ORDER))
    assert (filed.reason, filed.order_id, room.repository.shipments) == ("unknown_shipment", "A-1", {})
    assert (await room.filing.file(dead(BY_SHIPMENT))).order_id is None


@pytest.mark.parametrize("exchange", ["shipments", ""])
async def test_a_notice_the_broker_gave_up_on_is_known_as_one(exchange: str) -> None:
    room = Room()
    before = await room.has_shipment(SHIPPED)
    filed = await room.filing.file(given_up_by_the_broker(exchange=exchange))
    assert (filed.kind, filed.reason, filed.state) == (LetterKind.DELIVERED, "delivery_limit", DeadLetterState.OPEN)
    assert len(filed.attempts) == 1
    assert room.repository.shipments[ID] == before


async def test_a_notice_that_waited_before_the_broker_gave_up_is_known_as_one() -> None:
    deaths = [
        {"reason": "delivery_limit", "queue": "shipments.delivered", "exchange": ""},
        {"reason": "expired", "queue": "shipments.retry.1s", "exchange": "shipments.retry", "routing-keys": ["1s"]},
    ]
    waited = {"x-death": deaths, "origin_exchange": "shipments", "origin_routing_key": "shipment.delivered"}
    filed = await Room().filing.file(Delivery(BY_ORDER, waited, "m", "orders.dead-letter", "shipments.delivered"))
    assert (filed.kind, filed.origin_exchange) == (LetterKind.DELIVERED, "shipments")


async def test_its_trace_is_the_given_one_else_the_shipment_s() -> None:
    room = Room()
    await room.has_shipment(SHIPPED)
    assert (await room.filing.file(given_up_by_the_broker(BY_SHIPMENT))).trace_id == "trace-of-the-order"
    assert (await room.filing.file(given_up_by_the_broker(BY_ORDER, trace_id="trace-7"))).trace_id == "trace-7"


async def test_an_order_given_up_by_the_broker_is_still_an_order_s() -> None:
    death = {"reason": "delivery_limit", "queue": "orders.work", "exchange": "orders", "routing-keys": ["order.placed"]}
    message = Delivery(b'{"order_id": "A-1", "destination": "Oslo"}', {"x-death": [death]}, "m", "orders.dead-letter")
    assert kind_of(message) is LetterKind.ORDER
    room = Room()
    await room.filing.file(message)
    assert room.repository.shipments[ID].status is FAILED


async def test_a_notice_filed_twice_is_one_letter_and_copies_of_it_are_the_same_one() -> None:
    room = Room()
    first = await room.filing.file(dead())
    assert await room.filing.file(dead()) == first == room.letter()
    await room.filing.file(dead(origin_message_id="m-9", origin_routing_key="", origin_exchange="shipments"))
    assert [event.event for event in room.letter().history] == ["filed", "failed_again"]


async def test_one_body_published_as_an_order_and_as_a_notice_is_two_letters() -> None:
    both = b'{"order_id": "A-1", "destination": "Oslo", "delivered_at": 1772366400000}'
    room = Room()
    await room.filing.file(dead(both))
    await room.filing.file(Delivery(both, {"dead_letter_reason": "supplier_rejected"}, "m-1"))
    assert sorted(letter.kind for letter in room.letters.letters.values()) == ["delivered", "order"]


async def test_shipping_the_order_leaves_the_notice_s_letter_and_its_own_replay_resolves_it() -> None:
    room = Room()
    filed = await room.filing.file(dead())
    await room.letters.resolve(order_id="A-1", letter_id=None, now=NOW)
    assert room.letter().state is DeadLetterState.OPEN
    replay_id = str(uuid.uuid4())
    assert await room.letters.claim_for_replay(filed.id, replay_id=replay_id, by="anna", now=NOW)
    await room.letters.resolve(order_id=None, letter_id=filed.id, replay_id=replay_id, now=NOW)
    assert room.letter().state is DeadLetterState.RESOLVED


async def test_a_replayed_notice_that_fails_again_reopens_the_same_letter_and_is_counted() -> None:
    room = Room()
    first = await room.filing.file(dead())
    replay_id = str(uuid.uuid4())
    assert await room.letters.claim_for_replay(first.id, replay_id=replay_id, by="anna", now=NOW)
    copy = replay_headers(room.letter(), replay_id=replay_id, origin=origin_of(room.letter(), default=ORDERS))
    again = await room.filing.file(dead(BY_ORDER, DeadLetterReason.UNKNOWN_SHIPMENT, **copy))
    assert (again.id, again.state, again.replay_count) == (first.id, DeadLetterState.OPEN, 1)
    assert (again.kind, again.reason) == (LetterKind.DELIVERED, "unknown_shipment")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"origin_exchange": "", "origin_routing_key": "", "headers": {}},
        {"origin_exchange": "", "origin_routing_key": "shipments.delivered", "headers": {"x-death": []}},
    ],
)
def test_a_replayed_notice_goes_to_the_exchange_of_the_notices_whatever_else_is_known(
    fields: dict[str, object],
) -> None:
    letter = a_letter(kind=LetterKind.DELIVERED, reason="unknown_shipment", **fields)
    assert origin_of(letter, default=ORDERS) == NOTICES

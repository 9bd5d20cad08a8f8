"""Fuzzing what `orders.dlq` may hold: from the bytes that arrive to the document that is stored, and back."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumers.dead_letters import DeadLetterConsumer
from infra.rabbitmq.reading import read_delivery
from tests.support.fake_broker import FakeChannel, received
from tests.support.fake_ports import FakeRepository
from tests.support.fuzz_lines import has_message_id
from tests.support.fuzz_settings import deep, examples
from tests.support.raw_bodies import NOTICES, ORDERS, bodies
from tests.support.raw_headers import content_header, properties
from tests.support.skipping_time import run
from tests.support.stored_letters import StoredDeadLetters
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.dead_letter_reading import kind_of
from worker.domain.delivery import Delivery
from worker.domain.errors import MalformedOrderError
from worker.domain.filing import DeadLetterFiling
from worker.domain.order import parse_order
from worker.domain.outcome import Ack, DeadLetterReason
from worker.domain.shipment import Shipment, ShipmentStatus, shipment_id_for

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMIT = 10_000


class Room:
    """The consumer of dead letters and what it works on; the shipment of A-1 may be there."""

    def __init__(self, status: ShipmentStatus | None) -> None:
        self.letters, self.repository = StoredDeadLetters(), FakeRepository()
        if status is not None:
            shipment = Shipment.for_order("A-1", "Oslo", trace_id="trace-of-the-order", now=NOW)
            shipment.status = status
            self.repository.shipments[shipment.id] = shipment
        filing = DeadLetterFiling(
            dead_letters=self.letters,
            repository=self.repository,
            worker_name="worker-1",
            max_body_bytes=LIMIT,
            clock=lambda: NOW,
        )
        self.consumer = DeadLetterConsumer(filing=filing)

    async def file(self, raw: bytes, body: bytes, **how: Any) -> Delivery:
        delivery = read_delivery(await received(raw, body, FakeChannel(), **how))
        assert await self.consumer.handle(delivery) == Ack("filed")
        return delivery


@deep
@given(
    properties(),
    bodies(*ORDERS, *NOTICES),
    st.sampled_from([None, *ShipmentStatus]),
    st.sampled_from([("orders.dead-letter", ""), ("orders.dead-letter", "order.placed"), ("", "orders.dlq")]),
)
def test_whatever_is_in_the_dead_letter_queue_is_filed_and_comes_out_of_the_store_as_it_went_in(
    given_properties: bytes, body: bytes, status: ShipmentStatus | None, where: tuple[str, str]
) -> None:
    examples["dead letters: bytes to document"] += 1
    raw = content_header(given_properties, body_size=len(body))
    room = Room(status)
    how = {"exchange": where[0], "routing_key": where[1]}
    delivery = run(room.file(raw, body, **how))
    (letter,) = room.letters.letters.values()
    assert letter.body == body
    assert letter.reason in set(DeadLetterReason)
    assert letter.kind is kind_of(delivery)
    _the_shipment_agrees(room, letter, body)
    run(room.file(raw, body, redelivered=True, **how))
    if has_message_id(delivery):
        again = room.letters.letters
        assert set(again) == {letter.id}, "the same message filed twice is two letters"
        assert again[letter.id].filed == letter.filed


def _the_shipment_agrees(room: Room, letter: DeadLetterRecord, body: bytes) -> None:
    """An order that is a dead letter has a shipment that is FAILED, or was settled, and the letter is resolved then."""
    if letter.kind is LetterKind.DELIVERED or letter.reason == DeadLetterReason.MALFORMED:
        return
    try:
        order = parse_order(body, max_bytes=LIMIT)
    except MalformedOrderError:
        return
    shipment = room.repository.shipments[shipment_id_for(order.order_id)]
    assert shipment.status is not ShipmentStatus.PENDING
    assert (letter.state == "resolved") is shipment.status.is_settled

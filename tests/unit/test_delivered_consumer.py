"""The consumer of delivery notices, against fakes: a delivery in, always an outcome out."""

import json
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.delivered import DeliveredConsumer
from infra.rabbitmq.headers import fitting_headers
from tests.support.fake_ports import FakeRepository
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from tests.support.strategies import arbitrary_bodies, arbitrary_headers
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.delivery import Delivery
from worker.domain.delivery_core import DeliveryCore
from worker.domain.errors import EarlyNoticeError, StoreUnavailableError
from worker.domain.log import log_fields_ctx
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.retry import Delay, RetryPolicy
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment, ShipmentStatus, shipment_id_for
from worker.domain.trace import TraceContext, trace_context_ctx, trace_id_ctx

ID = shipment_id_for("A-1")
BY_ORDER = b'{"order_id": "A-1", "delivered_at": "2026-03-01T12:00:00Z", "signed_by": "Ola"}'
BY_SHIPMENT = json.dumps({"shipment_id": ID, "delivered_at": 1_772_366_400_000}).encode()
ARRIVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SHORT = RetryPolicy(delays=(Delay.parse("1ms"), Delay.parse("2ms")), max_attempts=4)
SHIPPED, DELIVERED = ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED
notices = st.sampled_from([BY_ORDER, BY_SHIPMENT])


class Room:
    """A consumer and what it works on."""

    def __init__(self, *, policy: RetryPolicy | None = None) -> None:
        self.repository, self.letters = FakeRepository(), FakeDeadLetters()
        policy = policy or RetryPolicy()
        core = DeliveryCore(
            repository=self.repository,
            dead_letters=self.letters,
            policy=policy,
            worker_name="worker-1",
            chance=lambda: 0.0,
        )
        self.consumer = DeliveredConsumer(core=core, policy=policy, max_body_bytes=10_000)

    async def has(self, status: ShipmentStatus = SHIPPED) -> "Room":
        shipment = Shipment.for_order("A-1", "Oslo", trace_id="trace-of-the-order", now=NOW)
        shipment.status = status
        self.repository.shipments[ID] = shipment
        return self

    async def handle(self, body: bytes = BY_ORDER, headers: Mapping[str, object] | None = None) -> Outcome:
        return await self.consumer.handle(Delivery(body, headers or {}, "m-1", "shipments", "shipment.delivered"))

    async def replaying(self, **fields: Any) -> DeadLetterRecord:
        """Have a notice's letter that is being replayed."""
        letter = a_letter(kind=LetterKind.DELIVERED, reason="unknown_shipment", order_id="A-1", **fields)
        await self.letters.insert(letter)
        assert await self.letters.claim_for_replay(letter.id, replay_id=str(uuid.uuid4()), by="anna", now=NOW)
        return self.letters.letters[letter.id]

    @property
    def shipment(self) -> Shipment:
        return self.repository.shipments[ID]

    def events(self) -> list[str]:
        return [event.event for event in self.shipment.history[1:]]


def of_replay(letter: DeadLetterRecord) -> dict[str, object]:
    return {"dead_letter_id": letter.id, "replay_id": letter.replay_id}


def in_ms(milliseconds: float) -> int:
    return round(time.time() * 1000 + milliseconds)


@given(
    arbitrary_bodies | notices, arbitrary_headers, st.none() | st.text(max_size=300), st.sampled_from(ShipmentStatus)
)
async def test_whatever_arrives_has_an_outcome_that_can_be_sent(
    body: bytes, headers: dict[str, object], message_id: str | None, status: ShipmentStatus
) -> None:
    room = await Room(policy=SHORT).has(status)
    outcome = await room.consumer.handle(Delivery(body, headers, message_id))
    assert isinstance(outcome, Ack | Retry | Defer | DeadLetter)
    if isinstance(outcome, Ack):
        assert room.shipment.status is DELIVERED
        return
    assert fitting_headers(dict(outcome.headers))["origin_exchange"] == "shipments"
    assert outcome.headers["origin_routing_key"] == "shipment.delivered"
    if isinstance(outcome, DeadLetter):
        assert outcome.headers["dead_letter_reason"] == outcome.reason
        assert outcome.headers["dead_letter_id"]
        assert outcome.headers["trace_id"]


@pytest.mark.parametrize("body", [BY_ORDER, BY_SHIPMENT])
async def test_a_shipped_order_is_delivered(body: bytes) -> None:
    room = await Room().has()
    assert await room.handle(body) == Ack("delivered")
    assert (room.shipment.status, room.shipment.delivered_at) == (DELIVERED, ARRIVED)
    assert room.events() == ["delivered"]


async def test_a_repeated_notice_is_a_duplicate_and_changes_nothing() -> None:
    room = await Room().has()
    await room.handle()
    before = room.shipment
    later = BY_ORDER.replace(b"03-01", b"03-02")
    assert [await room.handle(), await room.handle(later)] == [Ack("duplicate"), Ack("duplicate")]
    assert room.shipment == before


@pytest.mark.parametrize("status", [ShipmentStatus.PENDING, ShipmentStatus.FAILED])
async def test_an_early_notice_is_put_off_longer_each_time_and_no_try_is_counted(status: ShipmentStatus) -> None:
    room, headers, queues = await Room().has(status), dict[str, object](), list[str]()
    for _ in range(7):
        outcome = await room.handle(headers={**headers, "not_before": 0})
        assert isinstance(outcome, Defer)
        assert isinstance(outcome.error, EarlyNoticeError)
        queues.append(outcome.queue)
        headers = dict(outcome.headers)
    assert queues == ["1s", "5s", "30s", "2m", "10m", "10m", "10m"]
    assert (headers["attempt"], headers["deferrals"]) == (0, 7)
    assert (room.shipment.status, room.events()) == (status, [])
    room.shipment.status = SHIPPED
    assert await room.handle(headers={**headers, "not_before": 0}) == Ack("delivered")


async def test_a_notice_that_was_early_for_too_long_is_given_up() -> None:
    room = await Room().has(ShipmentStatus.FAILED)
    outcome = await room.handle(headers={"deferrals": 100, "first_failed_at": in_ms(-86_400_001)})
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.EXPIRED
    assert (outcome.headers["attempt"], room.shipment.status) == (0, ShipmentStatus.FAILED)


@pytest.mark.parametrize("body", [BY_ORDER, BY_SHIPMENT])
async def test_a_notice_of_an_unknown_shipment_is_a_dead_letter_at_once(body: bytes) -> None:
    room = Room()
    outcome = await room.handle(body)
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.UNKNOWN_SHIPMENT
    assert (outcome.headers["attempt"], outcome.headers["deferrals"], room.repository.shipments) == (0, 0, {})


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"order_id": "A-1"}', b" " * 10_001])
async def test_a_body_that_is_no_notice_is_a_dead_letter_at_once(body: bytes) -> None:
    room = await Room().has()
    outcome = await room.handle(body)
    assert isinstance(outcome, DeadLetter)
    assert (outcome.reason, room.repository.calls) == (DeadLetterReason.MALFORMED, [])
    assert room.shipment.status is SHIPPED


async def test_a_store_that_is_down_defers_whatever_the_age_and_is_never_a_dead_letter() -> None:
    room = await Room().has()
    room.repository.is_down = True
    outcome = await room.handle(headers={"first_failed_at": 1, "attempt": 5})
    assert isinstance(outcome, Defer)
    assert isinstance(outcome.error, StoreUnavailableError)
    assert (outcome.queue, outcome.headers["attempt"], outcome.headers["deferrals"]) == ("1s", 5, 1)


async def test_a_notice_whose_write_was_not_answered_is_a_duplicate_when_it_comes_back() -> None:
    room = await Room().has()

    async def answer_is_lost(_: str) -> None:
        room.repository.after = None
        raise StoreUnavailableError("cut")

    room.repository.after = answer_is_lost
    outcome = await room.handle()
    assert isinstance(outcome, Defer)
    assert await room.handle(headers={**outcome.headers, "not_before": 0}) == Ack("duplicate")
    assert room.events() == ["delivered"]


async def test_a_fault_of_ours_is_tried_again_and_is_a_dead_letter_after_the_last_try() -> None:
    room, headers = await Room(policy=SHORT).has(), dict[str, object]()

    async def fault(_: str) -> None:
        raise LookupError("ours")

    room.repository.before = fault
    for _ in range(SHORT.max_attempts - 1):
        outcome = await room.handle(headers=headers)
        assert isinstance(outcome, Retry)
        headers = dict(outcome.headers)
    outcome = await room.handle(headers=headers)
    assert isinstance(outcome, DeadLetter)
    assert (outcome.reason, outcome.headers["attempt"]) == (DeadLetterReason.ATTEMPTS_EXHAUSTED, 4)


async def test_a_notice_that_is_much_too_early_is_sent_round_again_untouched() -> None:
    room, when = await Room().has(), in_ms(60_000)
    outcome = await room.handle(headers={"not_before": when, "deferrals": 3, "trace_id": "t"})
    assert isinstance(outcome, Defer)
    assert (outcome.queue, outcome.error) == ("2m", None)
    assert [outcome.headers[name] for name in ("not_before", "attempt", "deferrals")] == [when, 0, 3]
    assert room.repository.calls == []


async def test_headers_copied_from_an_order_do_not_make_it_one() -> None:
    outcome = await Room().handle(headers={"origin_exchange": "orders", "origin_routing_key": "order.placed"})
    assert isinstance(outcome, DeadLetter)
    assert (outcome.headers["origin_exchange"], outcome.headers["origin_routing_key"]) == (
        "shipments",
        "shipment.delivered",
    )


# the trace


async def test_the_trace_of_the_headers_goes_on() -> None:
    room = await Room().has(ShipmentStatus.PENDING)
    outcome = await room.handle(headers={"trace_id": "trace-7"})
    assert isinstance(outcome, Defer)
    assert outcome.headers["trace_id"] == "trace-7"


@pytest.mark.parametrize("body", [BY_ORDER, BY_SHIPMENT])
async def test_without_one_the_trace_of_the_shipment_goes_on(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    room = await Room().has(ShipmentStatus.PENDING)
    outcome = await room.handle(body)
    assert isinstance(outcome, Defer)
    expected = TraceContext.from_headers({"trace_id": "trace-of-the-order"}, seed="")
    assert (outcome.headers["trace_id"], outcome.headers["traceparent"]) == (expected.trace_id, expected.traceparent)
    fields = log_fields_ctx.get() or {}
    assert (fields["trace_id"], fields["order_id"], fields["shipment_id"]) == ("trace-of-the-order", "A-1", ID)
    assert [record.message for record in caplog.records] == ["notice.deferred"]
    assert (trace_id_ctx.get(), trace_context_ctx.get()) == (None, None)


async def test_a_trace_that_nobody_gave_is_not_made_up_while_the_store_is_down() -> None:
    room = await Room().has(ShipmentStatus.PENDING)
    room.repository.is_down = True
    outcome = await room.handle(BY_SHIPMENT)
    assert isinstance(outcome, Defer)
    room.repository.is_down = False
    outcome = await room.handle(BY_SHIPMENT, {**outcome.headers, "not_before": 0})
    assert isinstance(outcome, Defer)
    assert outcome.headers["trace_id"] == "trace-of-the-order"


# replays


@pytest.mark.parametrize(("status", "note"), [(SHIPPED, "delivered"), (DELIVERED, "duplicate")])
async def test_a_replayed_notice_that_is_done_with_resolves_its_letter(status: ShipmentStatus, note: str) -> None:
    room = await Room().has(status)
    letter, other = await room.replaying(), a_letter(order_id="A-1")
    await room.letters.insert(other)
    assert await room.handle(headers=of_replay(letter)) == Ack(note)
    kept = room.letters.letters[letter.id]
    assert kept.state is DeadLetterState.RESOLVED
    assert [(event.event, event.by) for event in kept.history[1:]] == [
        ("replayed", "anna"),
        ("taken", "worker-1"),
        ("resolved", None),
    ]
    assert room.letters.letters[other.id].state is DeadLetterState.OPEN  # of the order, which is none of its business


@pytest.mark.parametrize("moment", ["mark_taken", "resolve"])
async def test_a_store_that_goes_down_in_a_replay_is_a_deferral_and_the_loop_is_closed_later(moment: str) -> None:
    room = await Room().has()
    letter = await room.replaying()

    async def down(name: str) -> None:
        if name == moment:
            raise StoreUnavailableError("away")

    room.letters.before_write = down
    outcome = await room.handle(headers=of_replay(letter))
    assert isinstance(outcome, Defer)
    assert isinstance(outcome.error, StoreUnavailableError)
    assert room.shipment.status is (SHIPPED if moment == "mark_taken" else DELIVERED)
    room.letters.before_write = None
    note = "delivered" if moment == "mark_taken" else "duplicate"
    assert await room.handle(headers={**outcome.headers, "not_before": 0}) == Ack(note)
    kept = room.letters.letters[letter.id]
    assert (kept.state, [event.event for event in kept.history].count("taken")) == (DeadLetterState.RESOLVED, 1)


async def test_a_replayed_notice_that_waits_is_noted_as_taken_once_and_resolves_its_letter_in_the_end() -> None:
    room = await Room().has(ShipmentStatus.PENDING)
    letter = await room.replaying()
    outcome = await room.handle(headers=of_replay(letter))
    assert isinstance(outcome, Defer)
    assert isinstance(await room.handle(headers={**outcome.headers, "not_before": 0}), Defer)
    assert room.letters.letters[letter.id].state is DeadLetterState.REPLAYING
    room.shipment.status = SHIPPED
    assert await room.handle(headers={**outcome.headers, "not_before": 0}) == Ack("delivered")
    kept = room.letters.letters[letter.id]
    assert [event.event for event in kept.history[1:]] == ["replayed", "taken", "resolved"]


async def test_a_replayed_notice_that_fails_again_names_its_letter() -> None:
    room = Room()
    letter = await room.replaying()
    outcome = await room.handle(headers=of_replay(letter))
    assert isinstance(outcome, DeadLetter)
    assert of_replay(letter).items() <= outcome.headers.items()


async def test_a_replay_s_copy_that_is_no_notice_is_noted_as_taken() -> None:
    room = Room()
    letter = await room.replaying()
    assert isinstance(await room.handle(b"{", of_replay(letter)), DeadLetter)
    assert room.letters.letters[letter.id].history[-1].event == "taken"


async def test_a_copied_dead_letter_id_resolves_nothing() -> None:
    room = await Room().has()
    letter = await room.replaying()
    headers = {"dead_letter_id": letter.id, "replay_id": str(uuid.uuid4())}
    assert await room.handle(headers=headers) == Ack("delivered")
    assert room.letters.letters[letter.id].state is DeadLetterState.REPLAYING

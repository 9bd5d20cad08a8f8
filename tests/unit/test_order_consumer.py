"""The order consumer, against fakes: a delivery in, always an outcome out."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.orders import OrderConsumer
from infra.rabbitmq.headers import fitting_headers
from tests.support.fake_ports import Answer, FakeRepository, FakeSupplier, Scripted
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import a_letter
from tests.support.strategies import arbitrary_bodies, arbitrary_headers, valid_bodies
from worker.domain.core import LogisticsCore
from worker.domain.delivery import Delivery
from worker.domain.errors import CircuitBreakerOpenException, StoreUnavailableError
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.retry import Delay, RetryPolicy
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment, ShipmentStatus, shipment_id_for
from worker.domain.trace import trace_context_ctx, trace_id_ctx

BODY = b'{"order_id": "A-1", "destination": "Oslo", "note": "ring twice"}'
SHORT = RetryPolicy(delays=(Delay.parse("1ms"), Delay.parse("2ms")), max_attempts=4)
YES = Answer()
answers = st.sampled_from(
    [YES, Answer(500), Answer(422), Answer(503, retry_after=1e9), CircuitBreakerOpenException(2.0), ValueError("ours")]
)


class Room:
    """A consumer and what it works on."""

    def __init__(self, *script: Scripted, otherwise: Scripted = YES, policy: RetryPolicy | None = None) -> None:
        self.repository = FakeRepository()
        self.supplier = FakeSupplier(*script, otherwise=otherwise)
        self.letters = FakeDeadLetters()
        policy = policy or RetryPolicy()
        core = LogisticsCore(
            repository=self.repository,
            supplier=self.supplier,
            dead_letters=self.letters,
            policy=policy,
            worker_name="worker-1",
            chance=lambda: 0.0,
        )
        self.consumer = OrderConsumer(core=core, policy=policy, max_body_bytes=10_000)

    async def handle(self, body: bytes = BODY, headers: Mapping[str, object] | None = None, **more: Any) -> Outcome:
        return await self.consumer.handle(Delivery(body, headers or {}, **more))

    async def until_settled(self, headers: Mapping[str, object] | None = None) -> Outcome:
        """Bring the message back, as the delay queues do, until it is done with."""
        for _ in range(20):
            outcome = await self.handle(headers=headers)
            if not isinstance(outcome, Retry | Defer):
                return outcome
            headers = outcome.headers
        raise AssertionError("it goes round and round")

    @property
    def shipment(self) -> Shipment:
        return self.repository.shipments[shipment_id_for("A-1")]


def in_ms(milliseconds: float) -> int:
    return round(time.time() * 1000 + milliseconds)


@given(arbitrary_bodies, arbitrary_headers, st.none() | st.text(max_size=300), answers, st.booleans())
async def test_whatever_arrives_has_an_outcome_that_can_be_sent(
    body: bytes, headers: dict[str, object], message_id: str | None, answer: Scripted, down: bool
) -> None:
    room = Room(otherwise=answer)
    room.repository.is_down = down
    outcome = await room.handle(body, headers, message_id=message_id)
    assert isinstance(outcome, Ack | Retry | Defer | DeadLetter)
    if isinstance(outcome, Ack):
        assert room.supplier.dispatched
        return
    assert fitting_headers(dict(outcome.headers))["trace_id"]
    if isinstance(outcome, DeadLetter):
        assert outcome.headers["dead_letter_reason"] == outcome.reason
        assert outcome.headers["dead_letter_id"]
    if down:
        assert isinstance(outcome, Defer) or outcome == DeadLetter(
            DeadLetterReason.MALFORMED, outcome.error, outcome.headers
        )


@given(valid_bodies, arbitrary_headers)
async def test_a_valid_order_ships_whatever_its_headers(body: bytes, headers: dict[str, object]) -> None:
    headers.pop("not_before", None)
    room = Room()
    assert await room.handle(body, headers) == Ack("shipped")
    assert room.supplier.asked[0].order_id == json.loads(body)["order_id"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff", b'{"order_id": "A-1"}', b" " * 10_001])
async def test_a_body_that_is_no_order_is_a_dead_letter_at_once(body: bytes) -> None:
    room = Room()
    outcome = await room.handle(body, {"attempt": 2})
    assert isinstance(outcome, DeadLetter)
    assert (outcome.reason, outcome.headers["attempt"]) == (DeadLetterReason.MALFORMED, 2)
    assert (room.repository.calls, room.supplier.asked) == ([], [])


async def test_a_copy_of_a_shipped_order_is_a_duplicate() -> None:
    room = Room()
    assert [await room.handle(), await room.handle()] == [Ack("shipped"), Ack("duplicate")]


@pytest.mark.parametrize("failures", [0, 2])
async def test_a_replayed_order_that_ships_closes_the_loop_however_many_tries_it_took(failures: int) -> None:
    room = Room(*[Answer(500)] * failures, policy=SHORT)
    letter = a_letter(order_id="A-1", state=DeadLetterState.REPLAYING)
    await room.letters.insert(letter)
    assert await room.until_settled({"dead_letter_id": letter.id}) == Ack("shipped")
    assert room.letters.letters[letter.id].state is DeadLetterState.RESOLVED


async def test_a_replayed_order_that_fails_again_becomes_the_same_dead_letter() -> None:
    letter_id = a_letter().id
    outcome = await Room(Answer(422)).handle(headers={"dead_letter_id": letter_id, "replay_id": letter_id})
    assert isinstance(outcome, DeadLetter)
    assert (outcome.headers["dead_letter_id"], outcome.headers["replay_id"]) == (letter_id, letter_id)


@pytest.mark.parametrize("max_age", [86_400.0, 59.5])
async def test_a_message_that_is_much_too_early_is_sent_round_again_untouched(max_age: float) -> None:
    room, when = Room(policy=RetryPolicy(max_age=max_age)), in_ms(60_000)
    outcome = await room.handle(headers={"not_before": when, "attempt": 2, "deferrals": 3})
    assert isinstance(outcome, Defer)
    assert (outcome.queue, outcome.error) == ("2m", None)
    assert [outcome.headers[name] for name in ("not_before", "attempt", "deferrals")] == [when, 2, 3]
    assert (room.repository.calls, room.supplier.asked) == ([], [])


async def test_what_a_worker_with_a_clock_hours_ahead_sent_back_is_tried_when_its_delay_is_over() -> None:
    an_hour_ahead = {"not_before": in_ms(3_600_000), "wait_left": 0}
    assert await Room().handle(headers=an_hour_ahead) == Ack("shipped")
    longer = await Room().handle(headers={**an_hour_ahead, "wait_left": 20_000})
    assert isinstance(longer, Defer)
    assert (longer.queue, longer.headers["wait_left"]) == ("30s", 0)


async def test_a_message_that_is_a_little_early_is_held() -> None:
    room, when = Room(), in_ms(40)
    assert await room.handle(headers={"not_before": when}) == Ack("shipped")
    assert in_ms(0) >= when - 1


@pytest.mark.parametrize(
    "not_before",
    [0, in_ms(-1000), in_ms(2 * 86_400_000), 253_402_300_799_000, "soon"],
    ids=["zero", "past", "in two days", "in 9999", "no number"],
)
async def test_a_time_in_the_past_or_too_far_off_to_be_ours_is_no_reason_to_wait(not_before: object) -> None:
    assert await Room().handle(headers={"not_before": not_before}) == Ack("shipped")


async def test_an_order_that_keeps_failing_is_a_dead_letter_after_the_last_try() -> None:
    room = Room(otherwise=Answer(500), policy=SHORT)
    outcome = await room.until_settled({"trace_id": "trace-7", "x-tenant": "north"})
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.ATTEMPTS_EXHAUSTED
    assert (outcome.headers["attempt"], outcome.headers["x-tenant"]) == (4, "north")
    assert (room.shipment.status, room.shipment.retry_count) == (ShipmentStatus.FAILED, 4)
    assert {asked.trace_id for asked in room.supplier.asked} == {"trace-7"}
    assert len(room.supplier.asked) == 4


async def test_refusals_of_an_open_circuit_never_use_up_the_tries() -> None:
    room = Room(*[CircuitBreakerOpenException(0.001)] * 12, Answer(500), policy=SHORT)
    assert await room.until_settled() == Ack("shipped")
    assert room.shipment.retry_count == 1


async def test_deferrals_are_counted_and_the_first_failure_s_time_kept() -> None:
    room = Room(otherwise=CircuitBreakerOpenException(0.001), policy=SHORT)
    first = await room.handle()
    assert isinstance(first, Defer)
    second = await room.handle(headers=first.headers)
    assert isinstance(second, Defer)
    assert (second.headers["attempt"], second.headers["deferrals"]) == (0, 2)
    assert second.headers["first_failed_at"] == first.headers["first_failed_at"]


async def test_a_store_that_is_down_defers_and_says_so() -> None:
    room = Room()
    room.repository.is_down = True
    outcome = await room.handle(headers={"first_failed_at": 1, "attempt": 5})
    assert isinstance(outcome, Defer)
    assert isinstance(outcome.error, StoreUnavailableError)
    assert (outcome.headers["attempt"], outcome.headers["deferrals"]) == (5, 1)


async def test_the_trace_is_the_order_s_while_it_is_handled_and_nobody_s_after() -> None:
    room = Room()
    await room.handle(headers={"trace_id": "trace-7"})
    await room.handle(BODY.replace(b"A-1", b"A-2"))
    assert [asked.trace_id == "trace-7" for asked in room.supplier.asked] == [True, False]
    assert (trace_id_ctx.get(), trace_context_ctx.get()) == (None, None)


async def test_cancelling_is_the_only_thing_that_gets_out() -> None:
    asked = asyncio.Event()

    async def hang(_: Shipment) -> Answer:
        asked.set()
        await asyncio.Event().wait()
        return YES

    task = asyncio.create_task(Room(hang).handle())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

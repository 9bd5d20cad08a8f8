"""The core, against fakes that keep the ports' contracts: what becomes of an order whatever fails."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from tests.support.fake_ports import Answer, FakeRepository, FakeSupplier, Scripted
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.core import KeyedLocks, LogisticsCore
from worker.domain.delivery import Delivery, MessageState, to_milliseconds
from worker.domain.errors import (
    CircuitBreakerOpenException,
    MalformedOrderError,
    StoreUnavailableError,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
    SupplierUnavailableError,
)
from worker.domain.order import Order
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.retry import RetryPolicy
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment, ShipmentStatus, shipment_id_for

ORDER = Order(order_id="A-1", destination="Oslo")
ID = shipment_id_for("A-1")
MS = to_milliseconds(NOW)


class Room:
    """A core and what it works on."""

    def __init__(self, *script: Scripted) -> None:
        self.repository = FakeRepository()
        self.supplier = FakeSupplier(*script)
        self.letters = FakeDeadLetters()
        self.core = self.another_core()

    def another_core(self) -> LogisticsCore:
        """Another process on the same store and supplier."""
        return LogisticsCore(
            repository=self.repository,
            supplier=self.supplier,
            dead_letters=self.letters,
            policy=RetryPolicy(),
            worker_name="worker-1",
            clock=lambda: NOW,
            chance=lambda: 0.0,
        )

    async def handle(self, **headers: object) -> Outcome:
        return await self.handle_in(self.core, **headers)

    async def handle_in(self, core: LogisticsCore, **headers: object) -> Outcome:
        state = MessageState.read(Delivery(b"{}", headers), order_id=ORDER.order_id)
        return await core.process_order(ORDER, state)

    @property
    def shipment(self) -> Shipment:
        return self.repository.shipments[ID]

    def events(self) -> list[str]:
        return [event.event for event in self.shipment.history]

    async def had_failed(self) -> str:
        """The order was given up earlier; return its dead letter's id."""
        await self.repository.start_shipment(self._new())
        shipment = self._new()
        shipment.mark_failed(ValueError("then"), now=NOW - timedelta(hours=1), attempt=6, worker="worker-0")
        await self.repository.save_shipment(shipment)
        letter = a_letter(order_id="A-1", reason="attempts_exhausted")
        await self.letters.insert(letter)
        return letter.id

    @staticmethod
    def _new() -> Shipment:
        return Shipment.for_order("A-1", "Oslo", trace_id="t", now=NOW - timedelta(hours=2))


async def test_an_order_is_stored_dispatched_and_stored_again() -> None:
    room = Room()
    assert await room.handle(trace_id="trace-7") == Ack("shipped")
    assert (room.shipment.status, room.shipment.retry_count) == (ShipmentStatus.SHIPPED, 0)
    assert (room.shipment.trace_id, room.events()) == ("trace-7", ["received", "shipped"])
    assert room.supplier.dispatched == [ID]


@pytest.mark.parametrize("status", [ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED])
async def test_an_order_that_was_shipped_is_a_duplicate_and_the_supplier_is_not_asked(status: ShipmentStatus) -> None:
    room = Room()
    await room.handle()
    room.shipment.status = status
    assert await room.handle() == Ack("duplicate")
    assert len(room.supplier.asked) == 1
    assert room.events() == ["received", "shipped"]


@pytest.mark.parametrize("no", [Answer(422), Answer(200, accepted=False), SupplierRejectedError("unknown address")])
async def test_a_no_of_the_supplier_is_a_dead_letter_at_once(no: Scripted) -> None:
    room = Room(no)
    outcome = await room.handle()
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.SUPPLIER_REJECTED
    assert (room.shipment.status, room.shipment.retry_count) == (ShipmentStatus.FAILED, 1)
    assert room.events() == ["received", "attempt_failed", "failed"]


async def test_a_no_without_a_reason_is_a_rejection_too() -> None:
    class Curt(FakeSupplier):
        async def request_dispatch(self, shipment: Shipment) -> bool:
            await super().request_dispatch(shipment)
            return False

    room = Room()
    room.supplier = Curt()
    outcome = await room.handle_in(room.another_core())
    assert isinstance(outcome, DeadLetter)
    assert isinstance(outcome.error, SupplierRejectedError)


@pytest.mark.parametrize(
    "failure", [SupplierUnavailableError("later"), SupplierOutcomeUnknownError("cut"), RuntimeError("a fault of ours")]
)
async def test_a_failed_try_is_counted_and_comes_back(failure: Exception) -> None:
    room = Room(failure)
    outcome = await room.handle(attempt=1)
    assert outcome == Retry("5s", failure, MS + 5000)
    assert (room.shipment.status, room.shipment.retry_count) == (ShipmentStatus.PENDING, 1)
    last = room.shipment.history[-1]
    assert (last.event, last.attempt, last.worker, last.delay) == ("attempt_failed", 2, "worker-1", 5.0)
    assert room.shipment.last_error == f"{type(failure).__name__}: {failure}"
    assert await room.handle(attempt=2) == Ack("shipped")
    assert room.shipment.retry_count == 1


async def test_a_retry_after_is_kept() -> None:
    outcome = await Room(Answer(503, retry_after=700.0)).handle()
    assert isinstance(outcome, Retry)
    assert (outcome.queue, outcome.not_before) == ("10m", MS + 700_000)


async def test_the_last_try_that_fails_is_a_dead_letter() -> None:
    room = Room(Answer(500))
    outcome = await room.handle(attempt=5)
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.ATTEMPTS_EXHAUSTED
    assert (room.shipment.status, room.events()[-2:]) == (ShipmentStatus.FAILED, ["attempt_failed", "failed"])


async def test_an_open_circuit_defers_and_counts_nothing() -> None:
    room = Room(CircuitBreakerOpenException(3.0))
    outcome = await room.handle(attempt=5)
    assert isinstance(outcome, Defer)
    assert (outcome.queue, outcome.not_before) == ("5s", MS + 3000)
    assert (room.shipment.status, room.shipment.retry_count) == (ShipmentStatus.PENDING, 0)
    assert room.events() == ["received", "deferred"]


async def test_an_order_refused_for_too_long_is_given_up_without_counting_a_try() -> None:
    room = Room(CircuitBreakerOpenException(3.0))
    outcome = await room.handle(first_failed_at=MS - 86_400_000)
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.EXPIRED
    assert (room.shipment.status, room.shipment.retry_count) == (ShipmentStatus.FAILED, 0)


async def test_a_store_that_is_down_defers_whatever_the_age_and_the_supplier_is_not_asked() -> None:
    room = Room()
    room.repository.is_down = True
    outcome = await room.handle(attempt=5, first_failed_at=1)
    assert isinstance(outcome, Defer)
    assert isinstance(outcome.error, StoreUnavailableError)
    assert room.supplier.asked == []


async def test_an_order_given_up_before_is_tried_again_and_its_letter_resolved() -> None:
    room = Room()
    letter_id = await room.had_failed()
    assert await room.handle() == Ack("shipped")
    assert room.letters.letters[letter_id].state is DeadLetterState.RESOLVED
    assert room.events()[-2:] == ["tried_again", "shipped"]


@pytest.mark.parametrize("put_off", [Answer(500), CircuitBreakerOpenException(3.0)])
async def test_the_letter_is_resolved_although_the_order_took_more_than_one_try(put_off: Scripted) -> None:
    room = Room(put_off, put_off)
    letter_id = await room.had_failed()
    assert isinstance(await room.handle(), Retry | Defer)
    assert isinstance(await room.handle(), Retry | Defer)
    assert room.letters.letters[letter_id].state is DeadLetterState.OPEN
    assert await room.handle() == Ack("shipped")
    assert room.letters.letters[letter_id].state is DeadLetterState.RESOLVED


async def test_a_replayed_order_that_ships_resolves_the_letter_it_came_from() -> None:
    room = Room()
    replay_id = str(uuid.uuid4())
    letter = a_letter(order_id=None, reason="malformed", replay_id=replay_id)
    await room.letters.insert(letter)
    assert await room.handle(dead_letter_id=letter.id, replay_id=replay_id) == Ack("shipped")
    assert room.letters.letters[letter.id].state is DeadLetterState.RESOLVED


class Replay:
    """A core that meets the copy of a replayed order."""

    def __init__(self, *script: Scripted) -> None:
        self.room = Room(*script)
        self.id, self.letter = str(uuid.uuid4()), a_letter(order_id="A-1")

    async def claimed(self) -> "Replay":
        await self.room.letters.insert(self.letter)
        await self.room.letters.claim_for_replay(self.letter.id, replay_id=self.id, by="anna", now=NOW)
        return self

    async def handle(self, **more: object) -> Outcome:
        return await self.room.handle(dead_letter_id=self.letter.id, replay_id=self.id, **more)

    def events(self) -> list[tuple[str, str | None]]:
        return [(event.event, event.by) for event in self.room.letters.letters[self.letter.id].history[1:]]


async def test_a_replay_s_copy_is_noted_as_taken_once_before_anything_else() -> None:
    replay = await Replay(Answer(500)).claimed()
    replay.room.repository.is_down = True
    assert isinstance(await replay.handle(), Defer)
    assert replay.events() == [("replayed", "anna"), ("taken", "worker-1")]
    replay.room.repository.is_down = False
    assert isinstance(await replay.handle(), Retry)  # redelivered: its worker died
    assert await replay.handle(attempt=1) == Ack("shipped")
    assert replay.events() == [("replayed", "anna"), ("taken", "worker-1"), ("resolved", None)]


async def test_a_copy_whose_taking_could_not_be_noted_is_put_off_and_noted_next_time() -> None:
    replay = await Replay().claimed()

    async def down(_: str) -> None:
        raise StoreUnavailableError("away")

    replay.room.letters.before_write = down
    outcome = await replay.handle()
    assert isinstance(outcome, Defer)
    assert isinstance(outcome.error, StoreUnavailableError)
    assert (replay.room.repository.calls, replay.room.supplier.asked) == ([], [])
    replay.room.letters.before_write = None
    assert await replay.handle(deferrals=1) == Ack("shipped")
    assert ("taken", "worker-1") in replay.events()


async def test_a_replay_s_copy_that_is_no_order_is_noted_as_taken_and_refused() -> None:
    replay = await Replay().claimed()
    state = MessageState.read(
        Delivery(b"{", {"dead_letter_id": replay.letter.id, "replay_id": replay.id}), order_id=None
    )

    async def down(_: str) -> None:
        raise StoreUnavailableError("away")

    replay.room.letters.before_write = down
    assert isinstance(await replay.room.core.refuse(MalformedOrderError("no"), state), Defer)
    replay.room.letters.before_write = None
    outcome = await replay.room.core.refuse(MalformedOrderError("no"), state)
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.MALFORMED
    assert replay.events()[-1] == ("taken", "worker-1")


@pytest.mark.parametrize("replay_id", [None, "35d750c1-e284-4912-bdc2-5c6cfdcf044a"])
async def test_a_copied_dead_letter_id_resolves_nothing(replay_id: str | None) -> None:
    room = Room()
    letter = a_letter()
    await room.letters.insert(letter)
    assert await room.handle(dead_letter_id=letter.id, replay_id=replay_id) == Ack("shipped")
    assert room.letters.letters[letter.id].state is DeadLetterState.OPEN


async def test_locks_are_kept_only_while_somebody_needs_them() -> None:
    locks, log = KeyedLocks(), list[str]()

    async def work(key: str, name: str) -> None:
        async with locks.hold(key):
            log.append(f"{name} in")
            await asyncio.sleep(0)
            log.append(f"{name} out")

    tasks = [asyncio.create_task(work("k", name)) for name in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert log == ["a in", "a out", "c in", "c out"]
    with pytest.raises(ValueError, match="inside"):
        async with locks.hold("k"):
            raise ValueError("inside")
    assert locks._locks == {}


async def test_an_order_published_again_with_a_corrected_destination_goes_there() -> None:
    room = Room(Answer(422), Answer())
    await room.handle()
    corrected = Order(order_id="A-1", destination="Bergen")
    state = MessageState.read(Delivery(b"{}", {}), order_id="A-1")
    assert await room.core.process_order(corrected, state) == Ack("shipped")
    assert room.supplier.asked[-1].destination == "Bergen"
    assert room.shipment.destination == "Bergen"
    assert "redirected" in room.events()


def test_the_shipment_of_an_order_has_the_same_id_for_ever() -> None:
    """It is the idempotency key: another one would dispatch everything that is under way a second time."""
    assert shipment_id_for("order-17") == "b75dea37-e3e0-53cd-9216-d6c30c28c6a2"

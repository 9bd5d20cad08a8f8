"""The core when store and supplier fail at every possible moment, and when copies and workers race."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.fake_ports import Answer
from tests.unit.test_core import ID, Room
from worker.domain.core import LogisticsCore
from worker.domain.errors import StoreUnavailableError
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment, ShipmentStatus

DOWN = StoreUnavailableError("away")
ANSWERS = {"yes": Answer(), "no": Answer(422), "not now": Answer(503), "lost": Answer(lost="cut", dispatches=True)}


def failing_at(number: int, error: Exception) -> Callable[[str], Awaitable[None]]:
    """Let the `number`th call (from 0) fail."""
    seen = -1

    async def check(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            raise error

    return check


def strike(room: Room, moment: int, *, after: bool, error: Exception = DOWN) -> None:
    check = failing_at(moment, error)
    if after:
        room.repository.after = check
    else:
        room.repository.before = check
        room.letters.before_write = check


async def until_settled(room: Room, outcome: Outcome, **headers: object) -> Outcome:
    """Bring the message back as often as the outcome asks for, with the supplier in a better mood."""
    room.supplier.script.clear()
    room.supplier.otherwise = Answer()
    for _ in range(5):
        if not isinstance(outcome, Retry | Defer):
            return outcome
        outcome = await room.handle(**headers)
    return outcome


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("answer", ANSWERS)
async def test_whenever_the_store_fails_the_message_is_kept_and_ends_well(
    answer: str, moment: int, *, after: bool
) -> None:
    room = Room(ANSWERS[answer])
    strike(room, moment, after=after)
    outcome = await room.handle()
    if moment < 2:  # a try makes two calls: it starts the shipment and saves it
        assert isinstance(outcome, Defer)
        assert isinstance(outcome.error, StoreUnavailableError)
    room.repository.before = room.repository.after = None
    last = await until_settled(room, outcome)
    shipped = room.shipment.status is ShipmentStatus.SHIPPED
    assert isinstance(last, Ack) if shipped else isinstance(last, DeadLetter)
    assert len(room.supplier.dispatched) == shipped


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("replayed", [False, True])
async def test_a_letter_is_closed_although_the_store_failed_meanwhile(
    moment: int, *, replayed: bool, after: bool
) -> None:
    room = Room()
    letter_id = await room.had_failed()
    headers: dict[str, object] = {"dead_letter_id": letter_id} if replayed else {}
    strike(room, moment, after=after)
    outcome = await room.handle(**headers)
    room.repository.before = room.repository.after = room.letters.before_write = None
    assert isinstance(await until_settled(room, outcome, **headers), Ack)
    assert room.shipment.status is ShipmentStatus.SHIPPED
    assert room.letters.letters[letter_id].state is DeadLetterState.RESOLVED
    assert room.supplier.dispatched == [ID]


@pytest.mark.parametrize("broken", [{"start_shipment"}, {"save_shipment"}, {"start_shipment", "save_shipment"}])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_store_that_answers_nonsense_is_a_failed_try_and_never_an_escaping_error(
    answer: str, broken: set[str]
) -> None:
    async def nonsense(name: str) -> None:
        if name in broken:
            raise LookupError("nonsense")

    room = Room(ANSWERS[answer])
    room.repository.before = nonsense
    outcome = await room.handle()
    assert isinstance(outcome, Retry | DeadLetter)


async def test_a_letter_that_cannot_be_resolved_is_a_failed_try_and_never_an_escaping_error() -> None:
    async def nonsense(_: str) -> None:
        raise LookupError("nonsense")

    room = Room()
    await room.had_failed()
    room.letters.before_write = nonsense
    outcome = await room.handle()
    assert isinstance(outcome, Retry)
    assert room.shipment.status is ShipmentStatus.SHIPPED
    assert (room.shipment.retry_count, room.events()[-1]) == (0, "shipped")
    assert isinstance(await room.handle(), Retry)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_another_worker_that_ships_meanwhile_makes_this_one_a_duplicate(answer: str) -> None:
    other: list[LogisticsCore] = []

    async def while_asked(_: Shipment) -> Answer:
        assert await room.handle_in(other[0]) == Ack("shipped")
        return ANSWERS[answer]

    room = Room(while_asked)
    other.append(room.another_core())
    assert await room.handle() == Ack("duplicate")
    assert (room.shipment.status, room.events()) == (ShipmentStatus.SHIPPED, ["received", "shipped"])
    assert room.supplier.dispatched == [ID]


async def test_fifty_copies_at_once_are_one_request() -> None:
    room = Room()
    outcomes = await asyncio.gather(*(room.handle() for _ in range(50)))
    assert sorted(outcome.note for outcome in outcomes if isinstance(outcome, Ack)) == ["duplicate"] * 49 + ["shipped"]
    assert len(room.supplier.asked) == 1
    assert room.core._one_at_a_time._locks == {}


async def test_fifty_copies_in_two_workers_are_one_dispatch() -> None:
    room = Room()
    cores = [room.core, room.another_core()]
    outcomes = await asyncio.gather(*(room.handle_in(cores[number % 2]) for number in range(50)))
    assert all(isinstance(outcome, Ack) for outcome in outcomes)
    assert len(room.supplier.asked) <= 2
    assert (room.supplier.dispatched, room.events()) == ([ID], ["received", "shipped"])


async def test_a_cancelled_try_leaves_no_lock_and_no_trace_behind() -> None:
    asked = asyncio.Event()

    async def hang(_: Shipment) -> Answer:
        asked.set()
        await asyncio.Event().wait()
        return Answer()

    room = Room(hang)
    task = asyncio.create_task(room.handle())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert room.core._one_at_a_time._locks == {}
    assert (room.shipment.status, room.shipment.retry_count) == (ShipmentStatus.PENDING, 0)
    assert await room.handle() == Ack("shipped")

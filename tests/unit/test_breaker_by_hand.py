"""The guard around aiobreaker when an operator opens the circuit, or closes it."""

import asyncio

import pytest

from infra.supplier.breaker import CircuitState
from tests.unit.test_breaker import Room
from tests.unit.test_breaker_half_open import held
from worker.domain.errors import CircuitBreakerOpenException, SupplierOutcomeUnknownError

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
WHY = "circuit opened by hand by ann: audit"


async def failed(room: Room) -> None:
    await room.fail(3)


async def probing(room: Room) -> None:
    await room.half_open()
    await held(room)


async def untouched(_: Room) -> None:
    await asyncio.sleep(0)


BEFORE = pytest.mark.parametrize("before", [untouched, failed, Room.half_open, probing])


@BEFORE
async def test_held_open_it_refuses_every_call_for_ever_and_says_who_and_why(before: object) -> None:
    room = Room()
    await before(room)  # type: ignore[operator]
    room.circuit.hold_open(WHY)
    for _ in range(5):
        room.now += 1_000_000.0
        with pytest.raises(CircuitBreakerOpenException, match=f"^{WHY}$") as caught:
            await room.answer()
        assert (caught.value.is_by_hand, caught.value.retry_after) == (True, 10.0)
    assert (room.circuit.state, room.circuit.retry_after, room.circuit.held_open) == (OPEN, 10.0, WHY)
    assert room.changes[-1] is OPEN


@BEFORE
async def test_reset_it_lets_calls_through_at_once_and_counts_from_nothing(before: object) -> None:
    room = Room()
    await before(room)  # type: ignore[operator]
    room.circuit.hold_open(WHY)
    room.circuit.reset()
    assert (room.circuit.state, room.circuit.retry_after, room.circuit.held_open) == (CLOSED, 0.0, None)
    await room.fail(2)
    assert (await room.answer(), room.circuit.state, room.changes[-1]) == ("yes", CLOSED, CLOSED)


async def test_reset_closes_what_failures_opened_and_it_opens_again_by_itself() -> None:
    room = Room()
    await room.fail(3)
    room.circuit.reset()
    assert await room.answer() == "yes"
    await room.fail(3)
    assert room.changes == [OPEN, CLOSED, OPEN]


async def test_every_change_by_hand_is_told_once() -> None:
    room = Room()
    for _ in range(3):
        room.circuit.hold_open(WHY)
    for _ in range(3):
        room.circuit.reset()
    assert room.changes == [OPEN, CLOSED]


async def test_one_that_failures_have_opened_tells_that_it_is_held_so_that_nobody_waits_to_probe() -> None:
    room = Room()
    await room.fail(3)
    room.circuit.hold_open(WHY)
    assert room.changes == [OPEN, OPEN]


async def test_other_words_replace_those_before() -> None:
    room = Room()
    room.circuit.hold_open(WHY)
    room.circuit.hold_open("circuit opened by hand by ben")
    with pytest.raises(CircuitBreakerOpenException, match="by ben"):
        await room.answer()


@pytest.mark.parametrize("result", ["yes", SupplierOutcomeUnknownError("late")])
async def test_what_was_under_way_neither_closes_it_nor_opens_it_after_a_reset(result: Exception | str) -> None:
    room = Room()
    calls = [await held(room) for _ in range(6)]
    room.circuit.hold_open(WHY)
    for call in calls[:3]:
        await call.end(result)
    assert room.circuit.state is OPEN
    room.circuit.reset()
    for call in calls[3:]:
        await call.end(result)
    assert (room.circuit.state, room.changes) == (CLOSED, [OPEN, CLOSED])

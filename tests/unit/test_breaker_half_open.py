"""The guard around aiobreaker when the circuit is half-open, and results that come late."""

import asyncio

import pytest

from infra.supplier.breaker import CircuitState
from tests.unit.test_breaker import Room
from worker.domain.errors import CircuitBreakerOpenException, SupplierOutcomeUnknownError, SupplierRejectedError

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class Held:
    """A call that is under way until the test ends it."""

    def __init__(self, room: Room) -> None:
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.begun = False
        self.task = asyncio.create_task(room.circuit.call(self._run))

    async def _run(self) -> str:
        self.begun = True
        return await self.result

    async def end(self, result: Exception | str = "yes") -> None:
        if isinstance(result, Exception):
            self.result.set_exception(result)
        else:
            self.result.set_result(result)
        await asyncio.wait([self.task])
        self.task.exception()  # seen


async def held(room: Room) -> Held:
    call = Held(room)
    await asyncio.sleep(0)
    assert call.begun
    return call


async def test_exactly_one_of_200_concurrent_calls_probes_a_half_open_circuit() -> None:
    room, called = Room(), 0

    async def function() -> str:
        nonlocal called
        called += 1
        await asyncio.sleep(0.01)
        return "yes"

    await room.half_open()
    results = await asyncio.gather(*(room.circuit.call(function) for _ in range(200)), return_exceptions=True)
    assert (called, results.count("yes")) == (1, 1)
    assert sum(isinstance(result, CircuitBreakerOpenException) for result in results) == 199
    assert room.changes == [OPEN, HALF_OPEN, CLOSED]


async def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    room = Room()
    await room.half_open()
    await room.fail()
    assert (room.circuit.state, room.circuit.retry_after) == (OPEN, 10.0)
    assert room.changes == [OPEN, HALF_OPEN, OPEN]


async def test_after_a_probe_that_succeeds_the_count_starts_at_nothing() -> None:
    room = Room()
    await room.half_open()
    await room.answer()
    await room.fail(2)
    assert room.circuit.state is CLOSED
    await room.fail()
    assert room.circuit.state is OPEN


@pytest.mark.parametrize("how", ["cancelled", "fault"])
async def test_a_probe_that_comes_to_nothing_frees_its_place(how: str) -> None:
    room = Room()
    await room.half_open()
    probe = await held(room)
    assert await room.refused() == 10.0
    if how == "cancelled":
        probe.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe.task
    else:
        await probe.end(KeyError("ours"))
    assert room.circuit.state is HALF_OPEN
    assert await room.answer() == "yes"
    assert room.circuit.state is CLOSED


@pytest.mark.parametrize("result", ["yes", SupplierOutcomeUnknownError("late"), SupplierRejectedError("no")])
async def test_a_result_of_a_call_begun_before_the_circuit_changed_does_not_count(result: Exception | str) -> None:
    room = Room()
    closed_then, open_by_now = await held(room), await held(room)
    await room.fail(3)
    await closed_then.end(result)
    assert (room.circuit.state, room.circuit.retry_after) == (OPEN, 10.0)
    room.now += 10.0
    probe = await held(room)
    await open_by_now.end(result)  # neither closes nor opens it, nor lets a second probe in
    assert room.circuit.state is HALF_OPEN
    await room.refused()
    await probe.end()
    assert room.changes == [OPEN, HALF_OPEN, CLOSED]


async def test_late_failures_of_the_time_before_do_not_open_a_circuit_that_closed_again() -> None:
    room = Room()
    old = [await held(room) for _ in range(5)]
    await room.half_open()
    await room.answer()
    for call in old:
        await call.end(SupplierOutcomeUnknownError("late"))
    assert room.circuit.state is CLOSED


async def test_a_stale_cancelled_call_does_not_free_the_probe_s_place() -> None:
    room = Room()
    old = await held(room)
    await room.half_open()
    probe = await held(room)
    old.task.cancel()
    await asyncio.wait([old.task])
    await room.refused()
    await probe.end()

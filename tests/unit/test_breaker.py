"""The guard around aiobreaker: each of its promises."""

import asyncio

import pytest

from infra.supplier.breaker import CircuitBreaker, CircuitState, resilient
from worker.domain.errors import (
    CircuitBreakerOpenException,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
    SupplierUnavailableError,
)

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class Room:
    """A breaker whose clock the test moves."""

    def __init__(self, *, threshold: int = 3, recovery: float = 10.0) -> None:
        self.now = 1000.0
        self.changes: list[CircuitState] = []
        self.circuit = CircuitBreaker(
            failure_threshold=threshold,
            recovery_timeout=recovery,
            on_change=self.changes.append,
            clock=lambda: self.now,
        )

    async def answer(self, result: BaseException | str = "yes") -> str:
        async def function() -> str:
            if isinstance(result, BaseException):
                raise result
            return result

        return await self.circuit.call(function)

    async def fail(self, times: int = 1, *, retry_after: float | None = None) -> None:
        for _ in range(times):
            with pytest.raises(SupplierUnavailableError):
                await self.answer(SupplierUnavailableError("broken", retry_after=retry_after))

    async def refused(self) -> float:
        with pytest.raises(CircuitBreakerOpenException) as caught:
            await self.answer()
        return caught.value.retry_after

    async def half_open(self) -> None:
        await self.fail(3)
        self.now += 10.0


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


async def test_a_closed_circuit_hands_results_through() -> None:
    room = Room()
    assert await room.answer("here") == "here"
    assert (room.circuit.state, room.circuit.retry_after, room.changes) == (CLOSED, 0.0, [])


@pytest.mark.parametrize("threshold", [1, 2, 3, 7])
async def test_it_opens_after_so_many_failures_in_a_row(threshold: int) -> None:
    room = Room(threshold=threshold)
    await room.fail(threshold - 1)
    assert room.circuit.state is CLOSED
    await room.fail()
    assert (room.circuit.state, room.changes) == (OPEN, [OPEN])
    assert room.circuit.last_failure == "broken"


@pytest.mark.parametrize("success", ["yes", SupplierRejectedError("no")])
async def test_an_answer_between_failures_starts_the_count_again(success: SupplierRejectedError | str) -> None:
    room = Room()
    for _ in range(5):
        await room.fail(2)
        await asyncio.gather(room.answer(success), return_exceptions=True)
    assert room.circuit.state is CLOSED


async def test_every_caller_gets_the_original_error_the_tripping_one_too() -> None:
    room = Room()
    for _ in range(3):
        error = SupplierOutcomeUnknownError("reset")
        with pytest.raises(SupplierOutcomeUnknownError) as caught:
            await room.answer(error)
        assert caught.value is error
    room.now += 10.0
    probe = SupplierUnavailableError("still down")
    with pytest.raises(SupplierUnavailableError) as failed:
        await room.answer(probe)
    assert failed.value is probe


async def test_a_refusal_is_no_failure_of_the_supplier() -> None:
    room = Room()
    for _ in range(10):
        with pytest.raises(SupplierRejectedError):
            await room.answer(SupplierRejectedError("no"))
    assert room.circuit.state is CLOSED
    await room.half_open()
    with pytest.raises(SupplierRejectedError):
        await room.answer(SupplierRejectedError("no"))
    assert room.circuit.state is CLOSED


async def test_a_fault_of_ours_says_nothing_about_the_supplier() -> None:
    room = Room()
    await room.fail(2)
    for _ in range(10):
        with pytest.raises(KeyError):
            await room.answer(KeyError("ours"))
    assert room.circuit.state is CLOSED
    await room.fail()
    assert room.circuit.state is OPEN


async def test_an_open_circuit_refuses_without_calling_and_says_how_long() -> None:
    room = Room()
    await room.fail(3)
    assert (await room.refused(), room.circuit.retry_after) == (10.0, 10.0)
    room.now += 9.5
    assert (await room.refused(), room.circuit.retry_after) == (0.5, 0.5)
    assert room.changes == [OPEN]
    room.now += 0.5
    assert (room.circuit.retry_after, await room.answer()) == (0.0, "yes")


async def test_only_the_monotonic_clock_it_was_given_counts() -> None:
    room = Room(recovery=0.001)
    await room.fail(3)
    await asyncio.sleep(0.02)  # past what the wall clock would need
    assert await room.refused() == pytest.approx(0.001)
    room.now += 0.001
    assert await room.answer() == "yes"


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


@pytest.mark.parametrize(("asked", "waits"), [(None, 10.0), (3.0, 10.0), (25.0, 25.0), (1e6, 300.0)])
async def test_a_retry_after_lengthens_the_wait_up_to_five_minutes(asked: float | None, waits: float) -> None:
    room = Room()
    await room.fail(3, retry_after=asked)
    assert await room.refused() == waits


async def test_the_retry_after_of_an_earlier_failure_is_forgotten() -> None:
    room = Room()
    await room.fail(2, retry_after=200.0)
    await room.fail(1)
    assert room.circuit.retry_after == 10.0


async def test_resilient_sends_every_call_through_the_circuit_and_keeps_the_name() -> None:
    room = Room()

    @resilient(room.circuit)
    async def ask(what: str, *, loudly: bool = False) -> str:
        """Ask."""
        if what == "fail":
            raise SupplierUnavailableError("broken")
        return what.upper() if loudly else what

    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")
    assert await ask("hello", loudly=True) == "HELLO"
    for _ in range(3):
        with pytest.raises(SupplierUnavailableError):
            await ask("fail")
    with pytest.raises(CircuitBreakerOpenException):
        await ask("hello")

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

CLOSED, OPEN = CircuitState.CLOSED, CircuitState.OPEN


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


@pytest.mark.parametrize(("asked", "waits"), [(0.5, 0.5), (3.0, 3.0), (25.0, 25.0), (1e6, 300.0)])
async def test_a_retry_after_opens_it_at_once_for_as_long_as_was_asked_but_five_minutes(
    asked: float, waits: float
) -> None:
    room = Room()
    await room.fail(retry_after=asked)
    assert (room.circuit.state, await room.refused()) == (OPEN, waits)


@pytest.mark.parametrize(("asked", "waits"), [(None, 10.0), (3.0, 10.0), (25.0, 25.0)])
async def test_a_probe_that_fails_opens_it_for_the_longer_of_recovery_time_and_retry_after(
    asked: float | None, waits: float
) -> None:
    room = Room()
    await room.fail(3)
    room.now += 10.0
    await room.fail(retry_after=asked)
    assert (room.circuit.state, await room.refused()) == (OPEN, waits)


@pytest.mark.parametrize("asked", [None, 0.0])
async def test_a_failure_that_asks_for_no_pause_is_one_of_several(asked: float | None) -> None:
    room = Room()
    await room.fail(2, retry_after=asked)
    assert room.circuit.state is CLOSED


async def test_the_retry_after_of_an_earlier_failure_is_forgotten() -> None:
    room = Room()
    await room.fail(retry_after=200.0)
    room.now += 200.0
    await room.answer()
    await room.fail(3)
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


async def test_it_tells_since_when_it_has_not_been_closed_and_how_often_that_began() -> None:
    room = Room()
    assert (room.circuit.open_for, room.circuit.openings) == (0.0, 0)
    await room.half_open()
    assert (room.circuit.open_for, room.circuit.openings) == (10.0, 1)
    await room.fail()  # the probe: it has not been closed in between
    room.now += 10.0
    assert (room.circuit.open_for, room.circuit.openings) == (20.0, 1)
    await room.answer()
    assert (room.circuit.state, room.circuit.open_for) == (CLOSED, 0.0)
    await room.fail(3)
    assert room.circuit.openings == 2

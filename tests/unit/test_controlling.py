"""Carrying out what is wished: a worker's side, with fake store and intake and the real circuit breaker."""

import asyncio
from dataclasses import dataclass, field

import pytest

from infra.supplier.breaker import CircuitBreaker, CircuitState
from tests.support.fake_audit import FakeAuditLog
from tests.support.fake_controls import FakeWorkerControls, FakeWorkers
from worker.controlling import Controlling
from worker.domain.audit import Audit
from worker.domain.controls import Wishes
from worker.domain.errors import StoreUnavailableError, SupplierUnavailableError
from worker.domain.worker_controls import WorkerControls

OPEN, CLOSED = CircuitState.OPEN, CircuitState.CLOSED


@dataclass
class Room:
    """A worker called `a`; the room is its intake, too."""

    controls: FakeWorkerControls = field(default_factory=FakeWorkerControls)
    steered: list[tuple[bool, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.operator = WorkerControls(
            controls=self.controls, workers=FakeWorkers("a", "b"), audit=Audit(FakeAuditLog())
        )
        self.circuit = CircuitBreaker(failure_threshold=1, recovery_timeout=10.0)
        self.worker = Controlling(controls=self.controls, name="a", intake=self, circuit=self.circuit, prefetch=100)

    def steer_by_hand(self, *, paused: bool, prefetch: int) -> None:
        self.steered.append((paused, prefetch))

    async def fail(self) -> None:
        """Let the circuit open by itself."""

        async def fails() -> None:
            raise SupplierUnavailableError("broken")

        with pytest.raises(SupplierUnavailableError):
            await self.circuit.call(fails)


async def test_where_nothing_is_wished_the_worker_does_as_it_is_set() -> None:
    room = Room()
    await room.worker.refresh()
    assert room.steered == [(False, 100)]
    assert room.worker.carried_out == {"revision": 0, "paused": False, "prefetch": 100, "circuit_held_open": None}


async def test_pause_and_prefetch_are_handed_to_the_intake_and_reported() -> None:
    room = Room()
    await room.operator.pause(None, by="ann", why="")
    await room.operator.set_prefetch(["a"], 7, by="ann")
    await room.worker.refresh()
    assert (room.steered, room.worker.is_paused) == ([(True, 7)], True)
    assert room.worker.carried_out == {"revision": 2, "paused": True, "prefetch": 7, "circuit_held_open": None}
    await room.operator.resume(["a"], by="ann")
    await room.operator.set_prefetch(None, None, by="ann")
    await room.worker.refresh()
    assert (room.steered[-1], room.worker.is_paused) == ((False, 100), False)


async def test_a_wish_for_another_worker_is_only_a_revision() -> None:
    room = Room()
    await room.operator.pause(["b"], by="ann", why="")
    await room.worker.refresh()
    assert (room.steered, room.worker.carried_out["revision"]) == ([(False, 100)], 1)


async def test_the_circuit_is_held_open_with_who_and_why_until_it_is_reset() -> None:
    room = Room()
    await room.operator.open_circuit(None, by="ann", why="audit")
    await room.worker.refresh()
    assert room.circuit.held_open == "circuit opened by hand by ann: audit"
    assert room.worker.carried_out["circuit_held_open"] == room.circuit.held_open
    await room.operator.reset_circuit(["a"], by="ben")
    await room.worker.refresh()
    assert room.worker.carried_out["circuit_held_open"] is None
    assert room.circuit.state is CLOSED


async def test_a_reset_is_carried_out_once_and_not_again_when_the_circuit_opens_by_itself_later() -> None:
    room = Room()
    await room.fail()
    await room.operator.reset_circuit(None, by="ann")
    await room.worker.refresh()
    assert room.circuit.state is CLOSED
    await room.fail()
    await room.operator.pause(None, by="ann", why="")
    await room.worker.refresh()
    assert room.circuit.state is OPEN
    await room.operator.reset_circuit(None, by="ann")
    await room.worker.refresh()
    assert room.circuit.state is CLOSED


async def test_a_wish_that_is_there_no_more_holds_nothing_open() -> None:
    room = Room()
    await room.operator.open_circuit(None, by="ann", why="")
    await room.worker.refresh()
    room.controls = room.worker._controls = FakeWorkerControls()  # somebody dropped the collection
    await room.worker.refresh()
    assert room.circuit.held_open is None


async def test_while_the_store_is_away_what_was_known_last_stays_in_force() -> None:
    room = Room()
    await room.operator.pause(None, by="ann", why="")
    await room.worker.refresh()
    room.controls.is_down = True
    with pytest.raises(StoreUnavailableError):
        await room.worker.refresh()
    assert (room.steered, room.worker.is_paused) == ([(True, 100)], True)


async def test_it_reads_one_at_a_time_else_a_late_answer_could_be_carried_out_after_a_newer_one() -> None:
    room = Room()
    read, reading, most = room.controls.read, 0, 0

    async def counted() -> Wishes:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0.001)
        reading -= 1
        return await read()

    room.controls.read = counted  # type: ignore[method-assign]
    await asyncio.gather(*(room.worker.refresh() for _ in range(5)))
    assert (most, len(room.steered)) == (1, 5)


async def test_news_are_there_at_once_when_other_wishes_are_carried_out_and_not_when_they_are_the_same() -> None:
    room = Room()
    await room.worker.refresh()
    await room.worker.news(within=0.01)
    await room.operator.pause(None, by="ann", why="")
    await room.worker.refresh()
    async with asyncio.timeout(1):
        await room.worker.news(within=60)
    await room.worker.refresh()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await room.worker.news(within=60)

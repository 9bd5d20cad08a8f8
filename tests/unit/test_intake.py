"""How many orders are taken at once, with fake store and circuit, on a clock that jumps instead of waiting."""

import asyncio
import itertools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from worker.domain.errors import CircuitBreakerOpenException, StoreUnavailableError
from worker.domain.outcome import Ack, Defer, Outcome, Retry
from worker.intake import Intake

AWAY = Defer("1s", StoreUnavailableError("away"), 0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that waits for nothing: when nobody has anything to do, its clock jumps to the next timer."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everybody waits for ever")
        if not ready and timeout is not None:
            self._jump(timeout)
        return ready


class Room:
    """An intake and what it steers; the room is its circuit, too."""

    def __init__(self, *, prefetch: int = 10) -> None:
        self.state, self.open_until = "closed", 0.0
        self.store_is_up = True
        self.asked_store: list[float] = []
        self.orders: list[tuple[float, int]] = []
        self.others: list[tuple[float, int]] = []
        self.intake = Intake(prefetch=prefetch, circuit=self, prepare_store=self._prepare_store)
        self.intake.steer_orders(lambda limit: _note(self.orders, limit))
        self.intake.steer_other(lambda limit: _note(self.others, limit), prefetch=prefetch)

    @property
    def retry_after(self) -> float:
        return max(self.open_until - _now(), 0.0)

    def circuit_is(self, state: str, *, seconds: float = 0.0) -> None:
        self.state, self.open_until = state, _now() + seconds
        self.intake.circuit_changed()

    async def _prepare_store(self) -> None:
        self.asked_store.append(_now())
        await asyncio.sleep(0)
        if not self.store_is_up:
            raise StoreUnavailableError("away")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _note(log: list[tuple[float, int]], limit: int) -> None:
    if not log or log[-1][1] != limit:
        log.append((_now(), limit))


def play(room: Room, story: Callable[[], Awaitable[Any]]) -> None:
    """Run the intake while the story is told."""

    async def both() -> None:
        steering = asyncio.create_task(room.intake.run())
        await asyncio.sleep(0.1)
        await story()
        await asyncio.sleep(0.1)
        assert not steering.done()
        steering.cancel()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(both())


def limits(log: list[tuple[float, int]]) -> list[int]:
    return [limit for _, limit in log]


def test_with_store_and_supplier_well_everything_is_taken() -> None:
    room = Room()
    assert (room.intake.limit, room.intake.store_is_down) == (0, True)
    play(room, lambda: asyncio.sleep(60))
    assert (room.orders, room.others) == ([(0.0, 10)], [(0.0, 10)])
    assert room.asked_store == [0.0]


def test_nothing_is_taken_until_the_store_has_answered_once() -> None:
    room = Room()
    room.store_is_up = False

    async def story() -> None:
        await asyncio.sleep(4.5)
        assert (room.orders, room.others, room.intake.limit) == ([], [], 0)
        room.store_is_up = True
        await asyncio.sleep(2)

    play(room, story)
    assert room.asked_store == pytest.approx([0, 1, 2, 3, 4, 5])
    assert (room.orders, room.others) == ([(5.0, 10)], [(5.0, 10)])


def test_a_store_that_goes_down_stops_everything_at_once_until_it_answers() -> None:
    room = Room()

    async def story() -> None:
        room.store_is_up = False
        room.intake.watch(AWAY)
        assert (room.intake.limit, limits(room.orders), limits(room.others)) == (0, [10, 0], [10, 0])
        await asyncio.sleep(30)
        assert room.intake.store_is_down
        room.store_is_up = True
        await asyncio.sleep(1.1)

    play(room, story)
    assert (limits(room.orders), limits(room.others)) == ([10, 0, 10], [10, 0, 10])


@pytest.mark.parametrize(
    "outcome",
    [
        Ack("shipped"),
        Retry("1s", StoreUnavailableError("?"), 0),
        Defer("1s", None, 0),
        Defer("1s", CircuitBreakerOpenException(3), 0),
    ],
)
def test_other_outcomes_say_nothing_about_the_store(outcome: Outcome) -> None:
    room = Room()

    async def story() -> None:
        room.intake.watch(outcome)

    play(room, story)
    assert room.orders == [(0.0, 10)]


def test_an_open_circuit_stops_orders_alone_until_one_may_probe() -> None:
    room = Room()

    async def story() -> None:
        room.circuit_is("open", seconds=10)
        await asyncio.sleep(9.9)
        assert room.intake.limit == 0
        await asyncio.sleep(50)
        room.circuit_is("half_open")

    play(room, story)
    assert room.orders == [(0.0, 10), (pytest.approx(0.1), 0), (pytest.approx(10.1), 1)]
    assert limits(room.others) == [10]


def test_a_circuit_that_closed_again_is_doubled_up_to_the_prefetch() -> None:
    room = Room(prefetch=10)

    async def story() -> None:
        room.circuit_is("open", seconds=5)
        await asyncio.sleep(6)
        room.circuit_is("closed")
        await asyncio.sleep(10)

    play(room, story)
    times = [at for at, limit in room.orders if limit in (2, 4, 8)]
    assert limits(room.orders) == [10, 0, 1, 2, 4, 8, 10]
    assert [later - at for at, later in itertools.pairwise(times)] == pytest.approx([0.5, 0.5])


def test_a_circuit_that_opens_again_on_the_way_up_stops_orders_again() -> None:
    room = Room(prefetch=100)

    async def story() -> None:
        room.circuit_is("open", seconds=5)
        await asyncio.sleep(6)
        room.circuit_is("closed")
        await asyncio.sleep(0.7)
        room.circuit_is("open", seconds=5)
        await asyncio.sleep(6)

    play(room, story)
    assert limits(room.orders) == [100, 0, 1, 2, 4, 0, 1]


def test_a_store_that_comes_back_does_not_open_the_gate_of_an_open_circuit() -> None:
    room = Room()

    async def story() -> None:
        room.circuit_is("open", seconds=60)
        await asyncio.sleep(1)
        room.store_is_up = False
        room.intake.watch(AWAY)
        await asyncio.sleep(5)
        room.store_is_up = True
        await asyncio.sleep(5)
        assert (room.intake.limit, room.intake.store_is_down) == (0, False)

    play(room, story)
    assert (limits(room.orders), limits(room.others)) == ([10, 0], [10, 0, 10])


def test_a_prefetch_of_one_is_probe_and_all() -> None:
    room = Room(prefetch=1)

    async def story() -> None:
        room.circuit_is("open", seconds=5)
        await asyncio.sleep(6)
        room.circuit_is("closed")

    play(room, story)
    assert limits(room.orders) == [1, 0, 1]


def test_paused_by_hand_no_orders_are_taken_and_everything_else_is() -> None:
    room = Room(prefetch=10)

    async def story() -> None:
        room.intake.steer_by_hand(paused=True, prefetch=10)
        assert (room.intake.limit, limits(room.orders)) == (0, [10, 0]), "at once"
        await asyncio.sleep(60)
        assert limits(room.orders) == [10, 0]
        room.intake.steer_by_hand(paused=False, prefetch=10)
        await asyncio.sleep(5)

    play(room, story)
    assert (limits(room.orders), limits(room.others)) == ([10, 0, 1, 2, 4, 8, 10], [10])


def test_neither_a_circuit_that_closes_nor_a_store_that_comes_back_ends_a_pause() -> None:
    room = Room()

    async def story() -> None:
        room.circuit_is("open", seconds=5)
        await asyncio.sleep(1)
        room.intake.steer_by_hand(paused=True, prefetch=10)
        await asyncio.sleep(10)
        room.circuit_is("closed")
        room.store_is_up = False
        room.intake.watch(AWAY)
        await asyncio.sleep(5)
        room.store_is_up = True
        await asyncio.sleep(5)
        assert (room.intake.limit, room.intake.store_is_down) == (0, False)

    play(room, story)
    assert limits(room.orders) == [10, 0]


def test_resumed_while_the_circuit_is_open_one_probes_when_it_may() -> None:
    room = Room()

    async def story() -> None:
        room.intake.steer_by_hand(paused=True, prefetch=10)
        room.circuit_is("open", seconds=10)
        await asyncio.sleep(1)
        room.intake.steer_by_hand(paused=False, prefetch=10)
        await asyncio.sleep(5)
        assert limits(room.orders) == [10, 0]
        await asyncio.sleep(5)

    play(room, story)
    assert limits(room.orders) == [10, 0, 1]


def test_a_smaller_prefetch_counts_at_once_and_a_larger_one_is_doubled_up_to() -> None:
    room = Room(prefetch=10)

    async def story() -> None:
        room.intake.steer_by_hand(paused=False, prefetch=3)
        assert limits(room.orders) == [10, 3], "at once"
        await asyncio.sleep(5)
        room.intake.steer_by_hand(paused=False, prefetch=40)
        await asyncio.sleep(5)

    play(room, story)
    assert (limits(room.orders), limits(room.others)) == ([10, 3, 6, 12, 24, 40], [10])


def test_a_pause_wished_before_the_store_has_answered_keeps_even_the_first_order_away() -> None:
    room = Room()
    room.store_is_up = False

    async def story() -> None:
        room.intake.steer_by_hand(paused=True, prefetch=10)
        room.store_is_up = True
        await asyncio.sleep(10)

    play(room, story)
    assert (limits(room.orders), limits(room.others)) == ([0], [0, 10])

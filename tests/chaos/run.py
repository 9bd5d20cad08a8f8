"""One run: orders flow, storms strike, all is healed, and the accountant looks for every order."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from infra.rabbitmq.topology import DEAD_LETTER_QUEUE, DELIVERED_QUEUE, WORK_QUEUE
from tests.chaos.accountant import Account, account
from tests.chaos.cluster import Depth
from tests.chaos.evidence import gather, queues_exist
from tests.chaos.faults import FAULTS
from tests.chaos.plan import Storm, Strike, plan
from tests.chaos.stuck import free
from tests.chaos.world import World, running_world, store_uri

_FEED_EVERY = 0.1
_PULSE_EVERY = 0.05
_NOTHING_MOVES = 15.0
_DEAF_TIMEOUT = 90.0
_CONSUMED = (WORK_QUEUE, DEAD_LETTER_QUEUE, DELIVERED_QUEUE)
_RECOVERY_TIMEOUT = 120.0
_SETTLE_TIMEOUT = 360.0
_STUCK = 30.0
"""Seconds without a change, with everything healed, after which messages count as stuck: longer than any delay here."""
_COUNTED_ANEW = 12.0
"""Seconds in which a new leader has counted its messages; it says 0 at first, and counts every 5 s."""
_QUIET = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the flow of orders came through a storm."""

    storm: Storm
    seconds: float
    """From the healing of the last fault to the next dispatch."""
    longest_pause: float
    """Seconds without a dispatch, from the storm's beginning to that dispatch."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    seed: int
    orders: int
    confirmed: int
    faults: Counter[str]
    recoveries: Sequence[Recovery]
    account: Account
    seconds: float
    worker_starts: int
    found_deaf: int
    exit_codes: Sequence[int]
    """Of the workers' orderly stop at the end."""
    freed: int
    """Queues whose messages were stuck in the broker until the queue got another leader."""

    @property
    def slowest(self) -> Recovery:
        """The recovery that took longest after the last fault was healed."""
        return max(self.recoveries, key=lambda recovery: recovery.seconds)

    @property
    def longest_pause(self) -> Recovery:
        """The one with the longest time without a dispatch, faults included."""
        return max(self.recoveries, key=lambda recovery: recovery.longest_pause)

    @property
    def is_sound(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.account.findings and not any(self.exit_codes)


async def run(*, seed: int, orders: int, faults: int, workers: int, folder: Path, say: Say) -> Result:
    """Publish the orders, strike with so many faults while they are handled, and account for every order."""
    storms = plan(seed, faults=faults)
    started = time.monotonic()
    async with running_world(folder, workers=workers) as world:
        say(f"ready after {time.monotonic() - started:.0f} s: seed {seed}, {orders:,} orders, {len(storms)} storms")
        await _queues_are_there(world)
        recoveries = []
        for number, storm in enumerate(storms):
            first, last = (orders * each // len(storms) for each in (number, number + 1))
            async with _pulse(world) as pulse:
                await _strike(world, storm, first, last)
                recovery = Recovery(storm, await _recovered(world), pulse.longest_pause)
            recoveries.append(recovery)
            await _caught_up(world, first)
            clock = time.monotonic() - started
            say(
                f"{clock:6.0f} s  storm {number + 1}/{len(storms)}, {world.dispatched:,} dispatched, "
                f"longest pause {recovery.longest_pause:.1f} s: {storm}"
            )
        freed = await _settled(world, orders, say)
        await _nobody_is_deaf(world)
        exit_codes = [await worker.stop() for worker in world.workers]
        evidence = await gather(
            amqp_url=world.cluster.any_node().amqp_url,
            mongodb_uri=store_uri(world.to_store),
            supplier=world.supplier,
            book=world.book,
        )
        return Result(
            seed=seed,
            orders=orders,
            confirmed=len(evidence.confirmed),
            faults=Counter(strike.kind for storm in storms for strike in storm.strikes),
            recoveries=recoveries,
            account=await asyncio.to_thread(account, evidence),
            seconds=time.monotonic() - started,
            worker_starts=sum(worker.starts for worker in world.workers),
            found_deaf=sum(worker.found_deaf for worker in world.workers),
            exit_codes=exit_codes,
            freed=freed,
        )


class _Pulse:
    """Watches the dispatches."""

    def __init__(self) -> None:
        self.longest_pause = 0.0

    async def watch(self, world: World) -> None:
        count, since = world.dispatched, time.monotonic()
        while True:
            await asyncio.sleep(_PULSE_EVERY)
            now = world.dispatched
            self.longest_pause = max(self.longest_pause, time.monotonic() - since)
            if now != count:
                count, since = now, time.monotonic()


@asynccontextmanager
async def _pulse(world: World) -> AsyncIterator[_Pulse]:
    pulse = _Pulse()
    watching = asyncio.create_task(pulse.watch(world))
    try:
        yield pulse
    finally:
        watching.cancel()


async def _queues_are_there(world: World) -> None:
    """Wait until a worker has declared everything; a quorum queue is safe from a kill a moment later only."""
    deadline = time.monotonic() + 60
    while not await queues_exist(world.cluster.nodes[0].amqp_url):
        assert time.monotonic() < deadline, "no worker has declared the queues"
        await asyncio.sleep(0.3)
    await asyncio.sleep(_QUIET)


async def _strike(world: World, storm: Storm, first: int, last: int) -> None:
    """Strike while the orders from `first` to `last` are published, evenly; the last few come when all is healed."""
    kept = last - max((last - first) // 10, 1)
    feeding = asyncio.create_task(_feed(world, first, kept, seconds=storm.lasts))
    async with asyncio.TaskGroup() as group:
        for strike in storm.strikes:
            group.create_task(_strike_once(world, strike))
    await feeding
    world.publish_up_to(last)


async def _feed(world: World, first: int, last: int, *, seconds: float) -> None:
    steps = max(int(seconds / _FEED_EVERY), 1)
    for step in range(1, steps + 1):
        world.publish_up_to(first + (last - first) * step // steps)
        await asyncio.sleep(_FEED_EVERY)


async def _caught_up(world: World, orders: int) -> None:
    """Wait until so many orders are through, so that storms do not pile up; what is a dead letter never comes."""
    last, moved_at = -1, time.monotonic()
    while (now := world.dispatched) < orders and time.monotonic() - moved_at < _NOTHING_MOVES:
        if now != last:
            last, moved_at = now, time.monotonic()
        await asyncio.sleep(0.1)


async def _strike_once(world: World, strike: Strike) -> None:
    _, fault = FAULTS[strike.kind]
    await asyncio.sleep(strike.after)
    async with fault(world, Random(strike.seed)):
        await asyncio.sleep(strike.lasts)


async def _recovered(world: World) -> float:
    """Return the seconds until the next order is dispatched; fail when none is for two minutes."""
    before, since = world.dispatched, time.monotonic()
    while world.dispatched == before:
        if time.monotonic() - since > _RECOVERY_TIMEOUT:
            raise AssertionError(f"nothing is dispatched {_RECOVERY_TIMEOUT:.0f} s after the storm")
        await asyncio.sleep(0.05)
    return time.monotonic() - since


async def _nobody_is_deaf(world: World) -> None:
    """Wait until each queue has one consumer of each worker; fail when it has not after a minute and a half."""
    deadline = time.monotonic() + _DEAF_TIMEOUT
    while True:
        consumers = await asyncio.to_thread(world.cluster.live_consumers)
        found = {name: consumers[name] for name in _CONSUMED}
        if set(found.values()) == {len(world.workers)}:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"consumers: {found}\n{await asyncio.to_thread(world.cluster.consumers)}")
        await asyncio.sleep(1)


async def _settled(world: World, orders: int, say: Say) -> int:
    """Wait until the publisher has done and every queue is empty for a while, with nothing in hand.

    Returns how many queues kept messages for nobody until they got another leader (`tests.chaos.stuck`). What is stuck
    otherwise, or again, fails the run.
    """
    world.publish_up_to(orders)
    assert world.publisher.stdin is not None
    world.publisher.stdin.close()
    freed: set[str] = set()
    async with asyncio.timeout(_SETTLE_TIMEOUT):
        await world.publisher.wait()
        last: Mapping[str, Depth] | None = None
        since, next_word = time.monotonic(), 0.0
        while last != {} or time.monotonic() - since < _QUIET * 3:
            await asyncio.sleep(0.5)
            depths = await asyncio.to_thread(world.cluster.queues)
            waiting = {name: depth for name, depth in depths.items() if depth.messages}
            if waiting != last:
                last, since = waiting, time.monotonic()
            if waiting and time.monotonic() > next_word:
                say(f"waiting: { {name: depth.messages for name, depth in waiting.items()} }")
                next_word = time.monotonic() + 10
            if waiting and time.monotonic() - since > _STUCK:
                freed |= await asyncio.to_thread(free, world.cluster, waiting, freed, say)
                await asyncio.sleep(_COUNTED_ANEW)
                since = time.monotonic()
    return len(freed)

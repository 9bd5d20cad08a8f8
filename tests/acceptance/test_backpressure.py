"""What the outside cannot take stays in the queue: few probes, no churn, a slow start afterwards; a rolling restart."""

import asyncio
import os
import time
from itertools import pairwise

import pytest

from tests.support.proxy import proxy_to_store
from tests.support.system import System, eventually

BACKLOG = int(os.environ.get("LOGISTICS_TEST_BACKLOG", "400"))
OUTAGE = float(os.environ.get("LOGISTICS_TEST_OUTAGE", "6"))
"""Seconds. The full measurement of docs/reliability.md: 20000 orders, 60 s, and a recovery time of 10 s."""
RECOVERY = float(os.environ.get("LOGISTICS_TEST_RECOVERY", "2"))
PREFETCH = 50
LONG = 90 + BACKLOG / 50
"""Seconds; a machine that others use may ship as few as a hundred orders a second."""
RETRY_QUEUES = ("orders.retry.200ms", "orders.retry.500ms", "orders.retry.1s", "orders.retry.30s")
_AT_ONCE = 200


@pytest.mark.timeout(LONG + 60 + 4 * OUTAGE + BACKLOG / 50)
@pytest.mark.parametrize("workers", [1, 3])
async def test_in_an_outage_the_supplier_sees_a_few_probes_and_the_backlog_stays_where_it_is(
    system: System, workers: int
) -> None:
    system.settings |= {
        "LOGISTICS_BREAKER_RECOVERY_TIMEOUT": f"{RECOVERY}s",
        "LOGISTICS_PREFETCH": str(PREFETCH),
        "LOGISTICS_RETRY_DELAYS": "200ms,500ms,1s,30s",
        "LOGISTICS_MAX_ATTEMPTS": "50",
    }
    system.supplier.change(latency=0.05)
    for _ in range(workers):
        await system.start_worker()
    await publish(system, 10)
    await eventually(lambda: system.supplier.stats()["dispatches"] == 10)
    system.supplier.change(outage=True, retry_after=None)
    await publish(system, BACKLOG, start=10)
    await eventually(lambda: all(worker.events("circuit.open") for worker in system.workers))
    await asyncio.sleep(1)  # what was under way when the circuits opened has its answer
    before, deepest, until = requests(system), 0, time.monotonic() + OUTAGE
    while time.monotonic() < until:
        deepest = max(deepest, sum([await system.depth(queue) for queue in RETRY_QUEUES]))
        await asyncio.sleep(0.2)
    probes = requests(system) - before
    print(f"{workers} workers, {OUTAGE:.0f} s: {probes} probes, at most {deepest} of {BACKLOG} in delay queues")  # noqa: T201
    assert 0 < probes <= workers * (OUTAGE / RECOVERY + 1)
    assert deepest <= workers * (PREFETCH + OUTAGE / RECOVERY + 1)
    assert system.letters() == []

    system.supplier.reset()
    system.supplier.change(outage=False)
    await eventually(lambda: requests(system) > 0, timeout=RECOVERY * 3)
    await asyncio.sleep(0.5)
    soon = int(str(system.supplier.stats()["max_in_flight"]))
    await eventually(lambda: system.db.shipments.count_documents({"status": "SHIPPED"}) == BACKLOG + 10, timeout=LONG)
    assert soon <= workers * 4, "it grows, it does not burst"
    assert int(str(system.supplier.stats()["max_in_flight"])) > 4 * workers
    assert system.letters() == []


async def test_a_retry_after_is_honoured_by_the_whole_worker(system: System) -> None:
    system.settings |= {"LOGISTICS_RETRY_DELAYS": "200ms,500ms,5s", "LOGISTICS_MAX_ATTEMPTS": "9"}
    system.supplier.change(throttle_rate=1.0, retry_after=3, latency=0.05)
    worker = await system.start_worker(LOGISTICS_PREFETCH="1")
    await publish(system, 20)
    await eventually(lambda: requests(system) == 1)
    await eventually(lambda: worker.events("circuit.open"))
    system.supplier.change(throttle_rate=0.0)
    await eventually(lambda: system.db.shipments.count_documents({"status": "SHIPPED"}) == 20, timeout=30)
    first, second, *_ = sorted(int(str(request["time"])) for request in system.supplier.requests())
    assert second - first >= 3000
    assert requests(system) == 21


async def test_a_store_that_is_away_turns_nothing_over_and_makes_no_dead_letter(system: System) -> None:
    system.supplier.change(latency=0.05)
    async with proxy_to_store(system.mongodb_uri) as proxy:
        await system.start_worker(
            LOGISTICS_MONGODB_URI=proxy.url, LOGISTICS_STORE_TIMEOUT="1s", LOGISTICS_PREFETCH=str(PREFETCH)
        )
        await publish(system, BACKLOG)
        await eventually(lambda: system.db.shipments.count_documents({"status": "SHIPPED"}) > PREFETCH)
        proxy.refuse()
        await proxy.cut()
        await eventually(lambda: system.workers[0].events("intake.paused"))
        await asyncio.sleep(2)
        waiting, until = await system.depth("orders.work"), time.monotonic() + OUTAGE / 2
        while time.monotonic() < until:
            assert abs(await system.depth("orders.work") - waiting) <= PREFETCH
            await asyncio.sleep(0.5)
        await proxy.listen()
        await eventually(lambda: system.db.shipments.count_documents({"status": "SHIPPED"}) == BACKLOG, timeout=LONG)
    assert system.letters() == []
    assert system.db.shipments.count_documents({"retry_count": {"$gt": 0}}) == 0


async def test_a_rolling_restart_under_load_redelivers_nothing_finished_and_delays_no_order(system: System) -> None:
    drain = 5.0
    system.settings |= {"LOGISTICS_DRAIN_TIMEOUT": f"{drain}s", "LOGISTICS_PREFETCH": "20"}
    system.supplier.change(latency=0.2, latency_jitter=0.3)
    for _ in range(3):
        await system.start_worker()
    published: dict[str, float] = {}
    stop = asyncio.Event()

    async def keep_publishing() -> None:
        while not stop.is_set():
            order = f"o-{len(published)}"
            published[order] = time.time() * 1000
            await system.publish_order(order)
            await asyncio.sleep(0.02)

    load = asyncio.create_task(keep_publishing())
    for old in list(system.workers):
        await asyncio.sleep(1)
        await system.start_worker()  # as an orchestrator does: the new one is ready before the old one goes
        assert await old.terminate() == 0
        assert old.events("worker.drained"), "it finished what it had"
    stop.set()
    await load
    await system.shipped(*published, timeout=30)
    stats = system.supplier.stats()
    assert (stats["requests"], stats["dispatches"]) == (len(published), len(published)), "nothing was done again"
    dispatched = {str(each["order_id"]): int(str(each["time"])) for each in system.supplier.requests(limit=100_000)}
    assert max(dispatched[order] - at for order, at in published.items()) < drain * 1000
    assert not [line for worker in system.workers for line in worker.events("order.duplicate")]


async def publish(system: System, count: int, *, start: int = 0) -> None:
    for first, last in pairwise([*range(start, start + count, _AT_ONCE), start + count]):
        await asyncio.gather(*(system.publish_order(f"o-{number}") for number in range(first, last)))


def requests(system: System) -> int:
    return int(str(system.supplier.stats()["requests"]))

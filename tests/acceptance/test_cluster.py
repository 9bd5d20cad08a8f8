"""A worker on a three-node RabbitMQ and a MongoDB replica set of three, of which it loses one each."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.orders import order_ids, publish_all
from infra.local.ports import LOOPBACK
from infra.rabbitmq.topology import WORK_QUEUE
from infra.supplier.simulator import SupplierSimulator
from tests.chaos.cluster import Cluster
from tests.chaos.replica_set import ReplicaSet
from tests.support.system import FAST, WorkerProcess, eventually

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(400)]

ORDERS = 4_000
LATENCY, PREFETCH = 0.5, 50
DATABASE = "cluster"


class Pulse:
    """When the supplier was asked to dispatch: how many a second, and for how long none."""

    def __init__(self, supplier: SupplierSimulator) -> None:
        self._supplier = supplier
        self._seen: list[tuple[float, int]] = []
        self._watching = asyncio.create_task(self._watch())

    @property
    def dispatched(self) -> int:
        return self._seen[-1][1] if self._seen else 0

    def rate(self, since: float, until: float) -> float:
        """Orders a second between two moments."""
        seen = [look for look in self._seen if since <= look[0] <= until]
        return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])

    def longest_pause(self, since: float) -> float:
        """The longest time without a dispatch since a moment, in seconds."""
        longest, moved = 0.0, since
        for (_, before), (at, now) in zip(self._seen, self._seen[1:], strict=False):
            if at > since and now > before:
                longest, moved = max(longest, at - moved), at
        return longest

    async def stop(self) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def _watch(self) -> None:
        while True:
            self._seen.append((time.monotonic(), int(str(self._supplier.stats()["dispatches"]))))
            await asyncio.sleep(0.05)


@pytest.fixture
async def supplier() -> AsyncIterator[SupplierSimulator]:
    simulator = SupplierSimulator()
    await simulator.start()
    simulator.change(latency=LATENCY)
    yield simulator
    await simulator.stop()


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[tuple[Cluster, ReplicaSet]]:
    async with AsyncExitStack() as stack:
        cluster, replica_set = Cluster(tmp_path / "rabbitmq"), ReplicaSet(tmp_path / "mongodb")
        stack.callback(cluster.kill)
        stack.callback(replica_set.kill)
        await asyncio.gather(asyncio.to_thread(cluster.start), asyncio.to_thread(replica_set.start))
        await asyncio.to_thread(replica_set.found, addresses(replica_set))
        yield cluster, replica_set


def addresses(replica_set: ReplicaSet) -> list[str]:
    return [f"{LOOPBACK}:{member.port}" for member in replica_set.members]


def amqp_url(cluster: Cluster) -> str:
    """One address that names all nodes."""
    one = urlsplit(cluster.nodes[0].amqp_url)
    hosts = ",".join(f"{LOOPBACK}:{node.amqp_port}" for node in cluster.nodes)
    return one._replace(netloc=f"{one.username}:{one.password}@{hosts}").geturl()


async def test_a_worker_goes_on_when_a_node_and_then_a_primary_die(
    servers: tuple[Cluster, ReplicaSet], supplier: SupplierSimulator, tmp_path: Path
) -> None:
    cluster, replica_set = servers
    worker = WorkerProcess(
        {
            **FAST,
            "LOGISTICS_AMQP_URL": amqp_url(cluster),
            "LOGISTICS_MONGODB_URI": f"mongodb://{','.join(addresses(replica_set))}/?replicaSet=rs0",
            "LOGISTICS_MONGODB_DATABASE": DATABASE,
            "LOGISTICS_SUPPLIER_URL": supplier.url,
            "LOGISTICS_PREFETCH": str(PREFETCH),
        },
        tmp_path / "worker.log",
    )
    pulse = Pulse(supplier)
    try:
        await eventually(lambda: len(worker.events("broker.connected")) >= 3)
        publishing = asyncio.create_task(publish_all(amqp_url(cluster), order_ids(ORDERS)))
        await reach(pulse, 500)
        begun = time.monotonic()
        await reach(pulse, 1_000)
        await publishing

        node_killed = time.monotonic()
        leader = await asyncio.to_thread(cluster.leader_of, WORK_QUEUE)
        assert leader is not None
        leader.kill()
        await reach(pulse, 2_500)

        primary_killed = time.monotonic()
        primary = await asyncio.to_thread(replica_set.primary)
        assert primary is not None
        primary.kill()
        await reach(pulse, ORDERS)
        await eventually(lambda: all_shipped(replica_set))  # who was dispatched, not saved, comes again at the end
        assert await worker.terminate(timeout=60) == 0
    finally:
        await pulse.stop()
        worker.close()

    whole = pulse.rate(begun, node_killed)
    two_nodes, two_of_each = pulse.rate(node_killed, primary_killed), pulse.rate(primary_killed, time.monotonic())
    pauses = pulse.longest_pause(node_killed), pulse.longest_pause(primary_killed)
    print(  # noqa: T201 - the figures
        f"\nall three of each: {whole:.0f} orders/s (the supplier allows {PREFETCH / LATENCY:.0f})\n"
        f"queue leader killed: {pauses[0]:.1f} s without a dispatch, {two_nodes:.0f} orders/s with it\n"
        f"primary killed: {pauses[1]:.1f} s without a dispatch, {two_of_each:.0f} orders/s with it"
    )
    stats = supplier.stats()
    assert (stats["distinct_idempotency_keys"], stats["dispatches"], stats["double_dispatches"]) == (ORDERS, ORDERS, 0)
    assert max(pauses) < 30


async def reach(pulse: Pulse, dispatched: int) -> None:
    await eventually(lambda: pulse.dispatched >= dispatched, timeout=120)


async def all_shipped(replica_set: ReplicaSet) -> bool:
    def count() -> int:
        primary = replica_set.primary()
        if primary is None:
            return 0
        with primary.client() as client:
            return client[DATABASE].shipments.count_documents({"status": "SHIPPED"})

    return await asyncio.to_thread(count) == ORDERS

"""Everything a chaos run needs: broker cluster, replica set, supplier, workers, and the wires between them."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.ports import LOOPBACK
from infra.supplier.simulator import SupplierSimulator
from infra.supplier.simulator_behaviour import Behaviour
from tests.chaos.cluster import Cluster
from tests.chaos.replica_set import ReplicaSet
from tests.chaos.wire import Wire
from tests.chaos.workers import Worker
from tests.support.system import PROJECT

DATABASE = "chaos"
CALM = Behaviour(latency=0.05, latency_jitter=0.15)
"""The supplier as it is between two storms: some orders are always on their way to it."""
SETTINGS = {
    "LOGISTICS_RETRY_DELAYS": "500ms,1s,2s,5s",
    "LOGISTICS_MAX_ATTEMPTS": "8",
    "LOGISTICS_BREAKER_RECOVERY_TIMEOUT": "2s",
    "LOGISTICS_SUPPLIER_TIMEOUT": "2s",
    "LOGISTICS_STORE_TIMEOUT": "3s",
    "LOGISTICS_PREFETCH": "50",
    "LOGISTICS_DRAIN_TIMEOUT": "10s",
}


@dataclass(slots=True)
class World:
    """The parts, running."""

    folder: Path
    cluster: Cluster
    replica_set: ReplicaSet
    supplier: SupplierSimulator
    to_broker: Wire
    to_store: list[Wire]
    to_supplier: Wire
    workers: list[Worker]
    publisher: asyncio.subprocess.Process
    book: Path
    """What the publisher wrote down."""

    def publish_up_to(self, number: int) -> None:
        """Let the publisher go on to this order."""
        if self.publisher.stdin is not None and not self.publisher.stdin.is_closing():
            self.publisher.stdin.write(f"{number}\n".encode())

    @property
    def dispatched(self) -> int:
        """How many orders the supplier has dispatched."""
        return int(str(self.supplier.stats()["dispatches"]))


@asynccontextmanager
async def running_world(folder: Path, *, workers: int) -> AsyncIterator[World]:
    """Start everything, and end everything."""
    async with AsyncExitStack() as stack:
        cluster, replica_set = Cluster(folder / "rabbitmq"), ReplicaSet(folder / "mongodb")
        stack.callback(cluster.kill)
        stack.callback(replica_set.kill)
        supplier = SupplierSimulator(CALM, keep_requests=10_000_000)
        await supplier.start()
        stack.push_async_callback(supplier.stop)
        to_broker, to_publisher = Wire(lambda: _ports(cluster)), Wire(lambda: _ports(cluster))
        supplier_port = urlsplit(supplier.url).port or 0
        to_supplier = Wire(lambda: iter([supplier_port]))
        to_store = [Wire(lambda port=member.port: iter([port])) for member in replica_set.members]  # type: ignore[misc]
        for wire in (to_broker, to_publisher, to_supplier, *to_store):
            await wire.listen()
            stack.push_async_callback(wire.close)
        await asyncio.gather(
            asyncio.to_thread(cluster.start),
            _start_store(replica_set, [f"{LOOPBACK}:{wire.port}" for wire in to_store]),
        )
        amqp_url = cluster.nodes[0].amqp_url
        environment = {
            **SETTINGS,
            "LOGISTICS_AMQP_URL": _through(amqp_url, to_broker),
            "LOGISTICS_MONGODB_URI": store_uri(to_store),
            "LOGISTICS_MONGODB_DATABASE": DATABASE,
            "LOGISTICS_SUPPLIER_URL": f"http://{LOOPBACK}:{to_supplier.port}",
        }
        places = [Worker(number, environment, folder) for number in range(workers)]
        for place in places:
            await place.start()
            stack.push_async_callback(place.stop)
        book = folder / "published.txt"
        publisher = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.publisher", str(book)),
            env={"PATH": "/usr/bin:/bin", "LOGISTICS_AMQP_URL": _through(amqp_url, to_publisher)},
            stdin=asyncio.subprocess.PIPE,
            cwd=PROJECT,
        )
        stack.push_async_callback(_end, publisher)
        yield World(folder, cluster, replica_set, supplier, to_broker, to_store, to_supplier, places, publisher, book)


def store_uri(wires: list[Wire]) -> str:
    """Return the replica set's URI, by way of the wires."""
    return f"mongodb://{','.join(f'{LOOPBACK}:{wire.port}' for wire in wires)}/?replicaSet=rs0"


async def _start_store(replica_set: ReplicaSet, addresses: list[str]) -> None:
    await asyncio.to_thread(replica_set.start)
    await asyncio.to_thread(replica_set.found, addresses)


async def _end(publisher: asyncio.subprocess.Process) -> None:
    if publisher.returncode is None:
        publisher.kill()
    await publisher.wait()


def _ports(cluster: Cluster) -> Iterator[int]:
    """Each connection goes to another node; one that is down is passed over."""
    ports = [node.amqp_port for node in cluster.nodes if node.is_running]
    return iter(random.sample(ports, k=len(ports)))


def _through(amqp_url: str, wire: Wire) -> str:
    address = urlsplit(amqp_url)
    return address._replace(netloc=f"{address.username}:{address.password}@{LOOPBACK}:{wire.port}").geturl()

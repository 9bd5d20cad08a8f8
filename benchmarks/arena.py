"""Where programs are measured: a real broker and store, a supplier of 20 ms, and a fresh place for each run."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from infra.local.ports import LOOPBACK, free_ports
from infra.local.process import ServerProcess
from infra.local.servers import LocalServers
from infra.mongodb.store import MongoStore
from infra.rabbitmq.depths import QueueDepths
from infra.rabbitmq.topology import DEAD_LETTER_QUEUE, WORK_QUEUE, Topology
from worker.domain.retry import Delay

PROJECT = Path(__file__).resolve().parents[1]
SUPPLIER_LATENCY = "20ms"
RETRY_DELAY = "500ms"
PREFETCH = 100
"""The worker's default."""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT)}
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Arena:
    """The running servers."""

    servers: LocalServers
    supplier: ServerProcess
    supplier_url: str
    http: aiohttp.ClientSession
    store: AsyncMongoClient[dict[str, Any]]
    prefetch: int
    """Orders that a program has in hand at once, where nothing else is set."""

    @property
    def pids(self) -> dict[str, int]:
        """The servers' processes, by the part each plays."""
        parts = {
            "store": self.servers.mongod.processes[-1],
            "broker": self.servers.rabbitmq.processes[-1],
            "supplier": self.supplier,
        }
        return {part: process.pid for part, process in parts.items() if process.pid is not None}

    async def set_behaviour(self, **settings: object) -> None:
        """Have the supplier forget everything and behave like this, beside its 20 ms."""
        behaviour = {"latency": 0.02, **settings}
        async with self.http.put(f"{self.supplier_url}/simulator/behaviour", json=behaviour) as answer:
            answer.raise_for_status()
        async with self.http.post(f"{self.supplier_url}/simulator/reset") as answer:
            answer.raise_for_status()

    async def supplier_counts(self) -> dict[str, Any]:
        """Return the supplier's own counts since it last forgot everything."""
        async with self.http.get(f"{self.supplier_url}/simulator/stats") as answer:
            counts: dict[str, Any] = await answer.json()
            return counts

    @asynccontextmanager
    async def fresh_place(self) -> AsyncIterator["Place"]:
        """Make queues and indexes that nobody has used; remove them again."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        amqp_url = await asyncio.to_thread(self.servers.rabbitmq.add_vhost, name)
        depths = QueueDepths(amqp_url, name="bench depths")
        try:
            await Topology([Delay.parse(RETRY_DELAY)]).ensure(amqp_url)
            await _make_indexes(self.servers.mongod.mongodb_uri, name)
            yield Place(self, name, amqp_url, depths, self.store[name])
        finally:
            await depths.close()
            await asyncio.to_thread(self.servers.rabbitmq.delete_vhost, name)
            await self.store.drop_database(name)


@dataclass(frozen=True, slots=True)
class Place:
    """Queues and a database of one run's own."""

    arena: Arena
    name: str
    amqp_url: str
    depths: QueueDepths
    database: AsyncDatabase[dict[str, Any]]

    async def waiting(self) -> int:
        """Return how many orders wait in the queue, those in somebody's hands not counted."""
        return (await self.depths.read([WORK_QUEUE]))[WORK_QUEUE] or 0

    async def dead(self) -> int:
        """Return how many orders have become dead letters."""
        return (await self.depths.read([DEAD_LETTER_QUEUE]))[DEAD_LETTER_QUEUE] or 0

    @asynccontextmanager
    async def running(self, command: tuple[str, ...], **changes: str) -> AsyncIterator[ServerProcess]:
        """Run a Python program (arguments of `python`) on this place, with changed settings; it is ended afterwards."""
        process = ServerProcess("program", self.arena.servers.data_dir)
        settings = {
            "LOGISTICS_AMQP_URL": self.amqp_url,
            "LOGISTICS_MONGODB_URI": self.arena.servers.mongod.mongodb_uri,
            "LOGISTICS_MONGODB_DATABASE": self.name,
            "LOGISTICS_SUPPLIER_URL": self.arena.supplier_url,
            "LOGISTICS_PREFETCH": str(self.arena.prefetch),
            "LOGISTICS_RETRY_DELAYS": RETRY_DELAY,
            "LOGISTICS_BREAKER_FAILURE_THRESHOLD": "1000000",  # failing orders must not pause the others
            "LOGISTICS_HEALTH_ADDR": f"{LOOPBACK}:0",
        }
        process.start([sys.executable, *command], {**_ENVIRONMENT, **settings, **changes})
        try:
            yield process
        finally:
            await asyncio.to_thread(process.stop, _PATIENCE)


@asynccontextmanager
async def running_arena(folder: Path, *, prefetch: int = PREFETCH) -> AsyncIterator[Arena]:
    """Start the servers, with their data in the folder, and stop them again. Raises LocalServerError."""
    async with AsyncExitStack() as stack:
        servers = LocalServers(folder)
        stack.callback(servers.kill)
        await asyncio.to_thread(servers.start)
        port = free_ports(1)[0]
        supplier = ServerProcess("supplier", folder)
        supplier.start(
            [sys.executable, "-m", "worker", "supplier-simulator", "--port", str(port), "--latency", SUPPLIER_LATENCY],
            _ENVIRONMENT,
        )
        stack.callback(supplier.kill)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        store = AsyncMongoClient[dict[str, Any]](servers.mongod.mongodb_uri, tz_aware=True)
        stack.push_async_callback(store.close)
        arena = Arena(servers, supplier, f"http://{LOOPBACK}:{port}", http, store, prefetch)
        await _answers(arena)
        yield arena


async def _answers(arena: Arena) -> None:
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                await arena.supplier_counts()
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
            else:
                return


async def _make_indexes(uri: str, database: str) -> None:
    store = MongoStore(uri, database=database)
    try:
        await store.ensure_indexes("shipments")
    finally:
        await store.close()

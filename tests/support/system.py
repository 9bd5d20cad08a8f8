"""A whole system for one test: real broker, store and supplier, and workers as real processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
from aio_pika.abc import AbstractChannel
from pymongo import MongoClient

from infra.supplier.simulator import SupplierSimulator
from tests.support.warm import WarmProcess
from worker.domain.shipment import shipment_id_for

PROJECT = Path(__file__).resolve().parents[2]
FAST = {
    "LOGISTICS_RETRY_DELAYS": "200ms,500ms,1s",
    "LOGISTICS_MAX_ATTEMPTS": "3",
    "LOGISTICS_BREAKER_RECOVERY_TIMEOUT": "1s",
    "LOGISTICS_SUPPLIER_TIMEOUT": "2s",
    "LOGISTICS_HEALTH_ADDR": "127.0.0.1:0",
}
"""Settings that make waiting short."""


class WorkerProcess:
    """`logistics worker` as a process, its log in a file."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        arguments: tuple[str, ...] = (),
        *,
        module: str = "worker",
        warm: bool = False,
    ) -> None:
        """Start it. `module`: another entry point. `warm`: in a fork of a process that has imported everything."""
        self.log = log
        settings = {**_without_settings(), **environment}
        self.process: subprocess.Popen[bytes] | WarmProcess
        if warm:
            self.process = WarmProcess(settings, ("worker", *arguments), out=log, err=log, cwd=PROJECT)
            return
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "worker", *arguments],
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=PROJECT,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        """The log lines written so far; a line that is no JSON fails the test."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.strip()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == name]

    @property
    def resident_mb(self) -> float:
        """Memory the process holds now, in MiB."""
        return self._memory("VmRSS")

    @property
    def most_resident_mb(self) -> float:
        """The most memory it ever held, in MiB."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    async def health(self, path: str = "/livez", *, timeout: float = 2.0) -> tuple[int, str]:
        """What a supervisor's probe sees: status and text, (0, why) when there is no answer in time."""
        url = self.events("worker.started")[0]["health"] + path
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
                session.get(url) as response,
            ):
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, f"no answer: {type(error).__name__}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def terminate(self, *, timeout: float = 30.0) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, timeout)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()


@dataclass
class System:
    """Everything one test needs."""

    amqp_url: str
    mongodb_uri: str
    database: str
    supplier: SupplierSimulator
    folder: Path
    channel: AbstractChannel
    settings: dict[str, str] = field(default_factory=lambda: dict(FAST))
    workers: list[WorkerProcess] = field(default_factory=list)
    cold: bool = False
    """Whether workers start from nothing, for tests that look at the process itself."""

    def __post_init__(self) -> None:
        self.client: MongoClient[dict[str, Any]] = MongoClient(self.mongodb_uri, tz_aware=True)
        self.db = self.client[self.database]

    def environment(self, **changes: str) -> dict[str, str]:
        return {
            "LOGISTICS_AMQP_URL": self.amqp_url,
            "LOGISTICS_MONGODB_URI": self.mongodb_uri,
            "LOGISTICS_MONGODB_DATABASE": self.database,
            "LOGISTICS_SUPPLIER_URL": self.supplier.url,
            **self.settings,
            **changes,
        }

    async def start_worker(
        self, *arguments: str, wait: bool = True, module: str = "worker", **changes: str
    ) -> WorkerProcess:
        """Start a worker and wait until it has its servers."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        cold = self.cold or module != "worker" or "PYTHONPATH" in changes or "--processes" in arguments
        worker = WorkerProcess(self.environment(**changes), log, arguments, module=module, warm=not cold)
        self.workers.append(worker)
        if wait:
            await eventually(lambda: len(worker.events("broker.connected")) >= 1 and worker.events("store.ready"))
        return worker

    async def publish(self, body: bytes | dict[str, Any], **properties: Any) -> None:
        """Publish as a foreign client would; `headers` and other properties as given."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        properties.setdefault("message_id", uuid.uuid4().hex)
        exchange = await self.channel.get_exchange("orders", ensure=False)
        message = aio_pika.Message(data, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
        await exchange.publish(message, "order.placed", mandatory=True, timeout=10)

    async def publish_order(self, order_id: str, **properties: Any) -> None:
        await self.publish({"order_id": order_id, "destination": "Oslo"}, **properties)

    def shipment(self, order_id: str) -> dict[str, Any] | None:
        return self.db.shipments.find_one({"_id": shipment_id_for(order_id)})

    def status(self, order_id: str) -> str | None:
        shipment = self.shipment(order_id)
        return None if shipment is None else str(shipment["status"])

    def letters(self, **which: Any) -> list[dict[str, Any]]:
        return list(self.db.dead_letters.find(which))

    async def depth(self, queue: str) -> int:
        """How many messages are ready in the queue."""
        declared = await self.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def shipped(self, *order_ids: str, timeout: float = 20.0) -> None:
        await eventually(lambda: all(self.status(order_id) == "SHIPPED" for order_id in order_ids), timeout=timeout)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.client.close()


@asynccontextmanager
async def running_system(
    *, amqp_url: str, mongodb_uri: str, database: str, supplier: SupplierSimulator, folder: Path
) -> AsyncIterator[System]:
    connection = await aio_pika.connect(amqp_url, timeout=10)
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    system = System(amqp_url, mongodb_uri, database, supplier, folder, channel)
    try:
        yield system
    finally:
        system.close()
        await connection.close()


async def eventually(
    condition: Callable[[], object] | Callable[[], Awaitable[object]], *, timeout: float = 20.0, every: float = 0.05
) -> None:
    """Return when the condition holds; fail with its last value when it does not in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s; the last value was {value!r}")
        await asyncio.sleep(every)


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LOGISTICS_")}

"""The same job written plainly: what the worker is compared with.

One coroutine a message on the same three libraries, with the same documents and the same guarantees: a journaled
majority write before the supplier is asked, one after it, and only then the ack. It has none of the rest: no retries
with a delay, no dead letters, no circuit breaker, no drain. Run by `make bench` with the worker's own settings.
"""

import asyncio
import json
import logging
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import aio_pika
import aiohttp
from aio_pika.abc import AbstractIncomingMessage
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import WriteConcern

from worker.domain.shipment import shipment_id_for

log = logging.getLogger("plain job")


class PlainJob:
    """Ships the order in a message, then acknowledges it."""

    def __init__(
        self, shipments: AsyncIOMotorCollection[dict[str, Any]], http: aiohttp.ClientSession, supplier_url: str
    ) -> None:
        self._shipments = shipments
        self._http = http
        self._dispatches = f"{supplier_url}/dispatches"

    async def handle(self, message: AbstractIncomingMessage) -> None:
        """Ship it; what fails goes back to the queue."""
        try:
            order = json.loads(message.body)
            shipment_id = shipment_id_for(order["order_id"])
            trace_id = str(message.headers.get("trace_id") or uuid.uuid4().hex)
            await self._store_pending(shipment_id, order, trace_id)
            await self._dispatch(shipment_id, order, trace_id, str(message.headers.get("traceparent")))
            await self._store_shipped(shipment_id)
        except Exception:
            log.exception("the order failed")
            await message.nack(requeue=True)
        else:
            log.info("shipped %s", order["order_id"])
            await message.ack()

    async def _store_pending(self, shipment_id: str, order: dict[str, str], trace_id: str) -> None:
        now = datetime.now(UTC)
        new = {
            "order_id": order["order_id"],
            "destination": order["destination"],
            "status": "PENDING",
            "retry_count": 0,
            "trace_id": trace_id,
            "created_at": now,
            "updated_at": now,
            "last_error": None,
            "history": [{"at": now, "event": "received"}],
        }
        await self._shipments.update_one({"_id": shipment_id}, {"$setOnInsert": new}, upsert=True)

    async def _dispatch(self, shipment_id: str, order: dict[str, str], trace_id: str, traceparent: str) -> None:
        body = {"shipment_id": shipment_id, "order_id": order["order_id"], "destination": order["destination"]}
        headers = {"Idempotency-Key": shipment_id, "X-Trace-Id": trace_id, "traceparent": traceparent}
        async with self._http.post(self._dispatches, json=body, headers=headers) as response:
            response.raise_for_status()
            await response.read()

    async def _store_shipped(self, shipment_id: str) -> None:
        now = datetime.now(UTC)
        shipped = {
            "$set": {"status": "SHIPPED", "updated_at": now},
            "$push": {"history": {"at": now, "event": "shipped", "attempt": 1}},
        }
        await self._shipments.update_one({"_id": shipment_id}, shipped)


async def main() -> None:
    """Consume `orders.work` until the process is ended."""
    logging.basicConfig(level=logging.INFO)
    database = AsyncIOMotorClient[dict[str, Any]](os.environ["LOGISTICS_MONGODB_URI"]).get_database(
        os.environ["LOGISTICS_MONGODB_DATABASE"], write_concern=WriteConcern("majority", j=True)
    )
    connection = await aio_pika.connect_robust(os.environ["LOGISTICS_AMQP_URL"])
    async with connection, aiohttp.ClientSession() as http:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=int(os.environ["LOGISTICS_PREFETCH"]))
        queue = await channel.get_queue("orders.work", ensure=False)
        job = PlainJob(database["shipments"], http, os.environ["LOGISTICS_SUPPLIER_URL"])
        await queue.consume(job.handle)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

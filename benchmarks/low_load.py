"""From publish to SHIPPED while there is little to do."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from statistics import quantiles
from typing import Any

from pymongo.asynchronous.change_stream import AsyncChangeStream

from benchmarks.arena import Place
from benchmarks.drain import RunFailed
from benchmarks.orders import order_ids
from infra.rabbitmq.order_publisher import OrderPublisher
from worker.domain.shipment import shipment_id_for

PER_SECOND = 20
_PATIENCE = 15.0
_SHIPPED: list[dict[str, Any]] = [
    {"$match": {"updateDescription.updatedFields.status": "SHIPPED"}},
    {"$project": {"documentKey": True}},
]


async def seconds_to_shipped(place: Place, *, seconds: float) -> list[float]:
    """Publish 20 orders a second and return how long each took, from its publish until the store says SHIPPED.

    The store tells by a change stream, as any other program would hear of it: what is majority-committed.
    """
    ids = order_ids(max(round(seconds * PER_SECOND), 2), prefix="L")
    published: dict[str, float] = {}
    shipped: dict[str, float] = {}
    async with await place.database["shipments"].watch(_SHIPPED) as changes:
        watching = asyncio.create_task(_watch(changes, shipped, len(ids)))
        try:
            await _publish_slowly(place.amqp_url, ids, published)
            async with asyncio.timeout(_PATIENCE):
                await watching
        except TimeoutError:
            raise RunFailed(f"{len(ids) - len(shipped)} of {len(ids)} orders were not shipped in time") from None
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    return [shipped[shipment] - at for shipment, at in published.items()]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of the values lie."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


async def _watch(changes: AsyncChangeStream[dict[str, Any]], shipped: dict[str, float], count: int) -> None:
    async for change in changes:
        shipped[change["documentKey"]["_id"]] = time.perf_counter()
        if len(shipped) == count:
            return


async def _publish_slowly(amqp_url: str, ids: Sequence[str], published: dict[str, float]) -> None:
    """Publish at a fixed rate, whatever becomes of the orders; note when each publish began."""
    async with OrderPublisher(amqp_url) as publisher, asyncio.TaskGroup() as publishing:
        begun = time.perf_counter()
        for number, order in enumerate(ids):
            await asyncio.sleep(begun + number / PER_SECOND - time.perf_counter())
            published[shipment_id_for(order)] = time.perf_counter()
            publishing.create_task(publisher.publish(order_id=order, destination="Oslo"))

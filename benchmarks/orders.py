"""The orders of a run, published as a service would."""

import asyncio
from collections.abc import Callable, Sequence

from infra.rabbitmq.order_publisher import OrderPublisher

_IN_FLIGHT = 500


def order_ids(count: int, *, prefix: str = "B") -> list[str]:
    """Return so many order ids."""
    return [f"{prefix}-{number:07}" for number in range(count)]


async def publish_all(amqp_url: str, ids: Sequence[str], *, say: Callable[[int], None] = lambda _: None) -> None:
    """Publish the orders; return when the broker has confirmed all. `say` is told, now and then, how many it has."""
    async with OrderPublisher(amqp_url) as publisher:
        for start in range(0, len(ids), _IN_FLIGHT):
            batch = ids[start : start + _IN_FLIGHT]
            await asyncio.gather(*(publisher.publish(order_id=order, destination="Oslo") for order in batch))
            say(start + len(batch))

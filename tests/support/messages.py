"""Looking into a queue, as a foreign client would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from infra.rabbitmq.topology import WORK_QUEUE


@asynccontextmanager
async def channel_of(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Yield a channel on a connection of its own."""
    connection = await aio_pika.connect(amqp_url, timeout=10)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def waiting(amqp_url: str, queue: str = WORK_QUEUE) -> int:
    """Return how many messages are ready in the queue."""
    async with channel_of(amqp_url) as channel:
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def take_all(amqp_url: str, queue: str = WORK_QUEUE) -> list[AbstractIncomingMessage]:
    """Take every message that is ready in the queue."""
    found: list[AbstractIncomingMessage] = []
    async with channel_of(amqp_url) as channel:
        source = await channel.get_queue(queue)
        while message := await source.get(no_ack=True, fail=False, timeout=10):
            found.append(message)
    return found

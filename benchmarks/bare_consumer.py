"""Consume and acknowledge, with no job: how fast this client reads such a queue at all. Run by `make bench`."""

import asyncio
import os

import aio_pika
from aio_pika.abc import AbstractIncomingMessage


async def acknowledge(message: AbstractIncomingMessage) -> None:
    """The whole of it."""
    await message.ack()


async def main() -> None:
    """Consume `orders.work` until the process is ended."""
    connection = await aio_pika.connect_robust(os.environ["LOGISTICS_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=int(os.environ["LOGISTICS_PREFETCH"]))
        queue = await channel.get_queue("orders.work", ensure=False)
        await queue.consume(acknowledge)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

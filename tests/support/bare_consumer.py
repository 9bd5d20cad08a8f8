"""A consumer that does nothing but read and acknowledge: how fast a queue can be read at all.

`python -m tests.support.bare_consumer AMQP_URL QUEUE COUNT PREFETCH` prints the seconds from the first message to the
last.
"""

import asyncio
import sys
import time

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

_SETTLING = 1.0
"""Seconds the broker gets for the last acks: those of a quorum queue wait in the channel, and its end forgets them."""


async def read(amqp_url: str, queue: str, count: int, prefetch: int) -> float:
    """Read and acknowledge so many messages; return the seconds it took."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=prefetch)
        source = await channel.get_queue(queue, ensure=False)
        times: list[float] = []
        done = asyncio.Event()

        async def take(message: AbstractIncomingMessage) -> None:
            await message.ack()
            times.append(time.perf_counter())
            if len(times) == count:
                done.set()

        await source.consume(take)
        await done.wait()
        await asyncio.sleep(_SETTLING)
        return times[-1] - times[0]


if __name__ == "__main__":
    _, url, name, wanted, limit = sys.argv
    sys.stdout.write(f"{asyncio.run(read(url, name, int(wanted), int(limit)))}\n")

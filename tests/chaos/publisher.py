"""A publisher in a process of its own: it publishes as far as it is told, and writes down what became of each order.

`python -m tests.chaos.publisher FILE` reads numbers from standard input, each on a line: publish up to this order. At
the end of its input it finishes what is in flight. FILE gets a line an order: `confirmed` or `given up`, the order's
id, its trace.
"""

import asyncio
import sys
from pathlib import Path
from typing import TextIO

from infra.rabbitmq.order_publisher import OrderPublisher
from infra.telemetry.logs import setup_logging
from worker.domain.errors import PublishError
from worker.settings import load_settings

_IN_FLIGHT = 100
_GIVE_UP_AFTER = 120.0


async def publish(lines: "asyncio.Queue[str]", book: TextIO) -> None:
    """Publish until the lines end."""
    url = load_settings().required("amqp_url")
    number, room, under_way = 0, asyncio.Semaphore(_IN_FLIGHT), set[asyncio.Task[None]]()
    async with OrderPublisher(url, name="chaos publisher", give_up_after=_GIVE_UP_AFTER) as publisher:
        while line := await lines.get():
            while number < int(line):
                await room.acquire()
                task = asyncio.create_task(_publish_one(publisher, number, book))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _: room.release())
                number += 1
        await asyncio.gather(*under_way)


async def _publish_one(publisher: OrderPublisher, number: int, book: TextIO) -> None:
    order, trace = f"order-{number:07}", f"trace-{number:07}"
    try:
        await publisher.publish(order_id=order, destination=f"Street {number}, Oslo", trace_id=trace)
    except PublishError:
        book.write(f"given up\t{order}\t{trace}\n")
    else:
        book.write(f"confirmed\t{order}\t{trace}\n")
    book.flush()


async def main(path: str) -> None:
    """Publish what standard input says."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    reading = asyncio.create_task(asyncio.to_thread(read))
    with Path(path).open("w") as book:  # noqa: ASYNC230 - opened once, before anything is in flight
        await publish(lines, book)
    await reading


if __name__ == "__main__":
    setup_logging("CRITICAL")  # the client tells of each connection that a fault cuts
    asyncio.run(main(sys.argv[1]))

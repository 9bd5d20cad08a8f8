"""Paced reading: deliveries are read while there is room, and now and then all the same."""

import asyncio

from aiormq.connection import TransportFactory
from yarl import URL

from infra.rabbitmq.paced import BytesInHand, PacedTransport

DELIVERY = b"\x00\x3c\x00\x3c" + b"d" * 96


class Fed(TransportFactory):
    """A connection over which deliveries have come."""

    def __init__(self, deliveries: int) -> None:
        self._deliveries = deliveries

    async def create(self, url: URL, **_: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader(limit=2**30)
        reader.feed_data(DELIVERY * self._deliveries)
        return reader, object()  # type: ignore[return-value] # nobody writes


async def a_full_hand(deliveries: int, in_hand: BytesInHand | None = None) -> tuple[BytesInHand, asyncio.StreamReader]:
    in_hand = in_hand or BytesInHand(most=1)
    in_hand.take(1)
    reader, _ = await PacedTransport(Fed(deliveries), in_hand).create(URL("amqp://nowhere"))
    return in_hand, reader


async def test_with_the_hands_full_nothing_is_read_until_there_is_room() -> None:
    in_hand, reader = await a_full_hand(1)
    reading = asyncio.create_task(reader.readexactly(len(DELIVERY)))
    await asyncio.sleep(0.05)
    assert not reading.done()
    in_hand.let_go(1)
    assert await asyncio.wait_for(reading, timeout=1) == DELIVERY


async def test_hands_that_stay_full_read_on_fast_enough_for_the_broker_to_keep_the_connection() -> None:
    """The broker resets a connection that takes nothing for 30 s, and TCP tells it of a little room not at all."""
    _, reader = await a_full_hand(10_000, BytesInHand(most=1, longest_wait=0.05))
    async with asyncio.timeout(5):  # they are a megabyte in all: one wait, and no more
        for _ in range(10_000):
            await reader.readexactly(len(DELIVERY))


async def test_hands_that_stay_full_wait_again_after_each_part_that_is_read_on() -> None:
    _, reader = await a_full_hand(50, BytesInHand(most=1, longest_wait=0.05, read_on=len(DELIVERY) * 10))
    started = asyncio.get_running_loop().time()
    for _ in range(50):
        await reader.readexactly(len(DELIVERY))
    assert asyncio.get_running_loop().time() - started >= 0.05 * 4

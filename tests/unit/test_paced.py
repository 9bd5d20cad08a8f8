"""Paced reading: deliveries are read while there is room, and now and then all the same."""

import asyncio

import pytest
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


class Dripping(TransportFactory):
    """A connection over which bytes come as told, and that ends then."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def create(self, url: URL, **_: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader(limit=2**20)

        async def drip() -> None:
            for part in self._parts:
                reader.feed_data(part)
                await asyncio.sleep(0)
            reader.feed_eof()

        self.dripping = asyncio.create_task(drip())
        return reader, object()  # type: ignore[return-value] # nobody writes


async def dripped(*parts: bytes) -> asyncio.StreamReader:
    reader, _ = await PacedTransport(Dripping(*parts), BytesInHand()).create(URL("amqp://nowhere"))
    return reader


async def test_what_comes_in_pieces_is_read_as_it_was_asked_for() -> None:
    everything = bytes(range(256)) * 2000
    parts = [everything[start : start + 777] for start in range(0, len(everything), 777)]
    reader = await dripped(*parts)
    read = b""
    for size in (1, 6, 250, 0, 100_000, 3, 65_536, 65_537):
        read += await reader.readexactly(size)
    assert read == everything[: len(read)]
    assert read + await reader.readexactly(len(everything) - len(read)) == everything


async def test_what_was_taken_over_is_read_before_the_end_shows() -> None:
    reader = await dripped(b"abcdef")
    assert await reader.readexactly(1) == b"a"
    await asyncio.sleep(0.01)
    assert not reader.at_eof()
    assert await reader.readexactly(5) == b"bcdef"
    assert reader.at_eof()


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_end_in_the_middle_is_an_error(size: int) -> None:
    reader = await dripped(b"abc", b"def")
    assert await reader.readexactly(1) == b"a"
    with pytest.raises(asyncio.IncompleteReadError):
        await reader.readexactly(size)

"""The broker's two ends in memory: a channel that deliveries are settled on, and exchanges that take messages.

Above them everything is real: the library's messages, the publisher, the settlement.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aio_pika import Message
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq.abc import DeliveredMessage
from aiormq.connection import FrameReceiver
from pamqp import commands, frame, header

from infra.rabbitmq.lenient import _LenientReader
from infra.rabbitmq.publisher import ConfirmedPublisher


@dataclass(frozen=True, slots=True)
class Settled:
    """One delivery the broker was told of: a nack, a reject, an ack of its own or one of many."""

    tag: int
    requeue: bool = False
    """Given back; otherwise it is gone from the queue."""
    rejected: bool = False
    """By a reject: it counts towards the delivery limit, and what is not given back is a dead letter."""


async def _nothing() -> None:
    pass


class FakeChannel:
    """The library's lower channel: it tells the broker what is settled, as long as it is open."""

    def __init__(self) -> None:
        self.in_hand: set[int] = set()
        self.told: list[Settled] = []
        self.on_told: Callable[[Settled], None] = lambda _: None
        """Called the moment the broker is told, for each delivery it concerns."""
        self.is_closed = False
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.drain: Callable[[], Awaitable[None]] = _nothing
        """Awaited after the broker was told, as the library waits for its socket."""

    async def basic_ack(self, delivery_tag: int, multiple: bool = False, wait: bool = True) -> None:
        earlier = sorted(tag for tag in self.in_hand if tag < delivery_tag) if multiple else []
        await self._tell([*(Settled(tag) for tag in earlier), Settled(delivery_tag)], wait=wait)

    async def basic_nack(self, delivery_tag: int, *, requeue: bool, wait: bool = True) -> None:
        await self._tell([Settled(delivery_tag, requeue=requeue)], wait=wait)

    async def basic_reject(self, delivery_tag: int, *, requeue: bool = False) -> None:
        await self._tell([Settled(delivery_tag, requeue=requeue, rejected=True)])

    def die(self) -> None:
        self.is_closed = True
        if not self.closing.done():
            self.closing.set_result(None)

    async def _tell(self, told: Sequence[Settled], *, wait: bool = True) -> None:
        if self.is_closed:
            raise ChannelInvalidStateError("closed")
        for settled in told:
            assert settled.tag in self.in_hand, f"{settled.tag} is not in hand: the broker closes the channel"
            self.in_hand.discard(settled.tag)
            self.told.append(settled)
            self.on_told(settled)
        if wait:
            await self.drain()


@dataclass(frozen=True, slots=True)
class Published:
    """One message as an exchange was given it."""

    exchange: str
    routing_key: str
    message: Message


@dataclass
class FakeExchanges:
    """Takes whatever is published; `on_publish` may refuse it, by what it raises."""

    taken: list[Published] = field(default_factory=list)
    on_publish: Callable[[Published], Awaitable[None]] | None = None

    def publisher(self) -> ConfirmedPublisher:
        """Return the real publisher, with these exchanges behind it."""
        return _Publisher(self)


class _Publisher(ConfirmedPublisher):
    def __init__(self, exchanges: FakeExchanges) -> None:
        super().__init__("amqp://nowhere", name="fuzz")
        self._fakes = exchanges

    async def _exchange(self, name: str) -> AbstractExchange:
        return cast("AbstractExchange", _Exchange(name, self._fakes))


@dataclass
class _Exchange:
    name: str
    exchanges: FakeExchanges

    async def publish(self, message: Message, routing_key: str, *, mandatory: bool, timeout: float) -> None:
        assert mandatory
        published = Published(self.name, routing_key, message)
        if self.exchanges.on_publish is not None:
            async with asyncio.timeout(timeout):
                await self.exchanges.on_publish(published)
        self.exchanges.taken.append(published)


def on_the_wire(message: Message) -> bytes:
    """Return the content header frame a message goes out with."""
    return frame.marshal(header.ContentHeader(properties=message.properties, body_size=len(message.body)), 1)


async def received(
    content_header: bytes,
    body: bytes,
    channel: FakeChannel,
    *,
    tag: int = 1,
    exchange: str = "orders",
    routing_key: str = "order.placed",
    redelivered: bool = False,
) -> DeliveredMessage:
    """Return a delivery as a lenient connection reads it."""
    channel.in_hand.add(tag)
    frame_in = await read_frame(content_header, lenient=True)
    deliver = commands.Basic.Deliver("tag", tag, redelivered=redelivered, routing_key=routing_key)
    deliver.exchange = exchange  # what is read is not held against the names that the client would send
    return DeliveredMessage(delivery=deliver, header=frame_in, body=body, channel=cast("Any", channel))


async def read_frame(raw: bytes, *, lenient: bool) -> header.ContentHeader:
    """Read a content header as the library does, on an ordinary connection or a lenient one."""
    reader = asyncio.StreamReader(limit=2**20)
    reader.feed_data(raw)
    reader.feed_eof()
    _, channel, read = await FrameReceiver(_LenientReader(reader) if lenient else reader).get_frame()
    assert (channel, type(read)) == (1, header.ContentHeader)
    return cast("header.ContentHeader", read)

"""One consumer on one connection: put on its queue and taken off, and renewed when it may hear nothing."""

import asyncio
import time
from collections.abc import Callable

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage

from infra.rabbitmq.connection import CONNECT_TIMEOUT, open_channel

_IDLE_FOR = 10.0


class Consumer:
    """A channel, and on it a consumer with a prefetch, or none while the prefetch is 0.

    Its methods raise what the client raises, and TimeoutError. `on_change` is told of everything that happens without
    being asked for, with the error that closed the channel where there is one.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        *,
        queue: str,
        on_delivery: Callable[[DeliveredMessage], None],
        on_change: Callable[[BaseException | None], None],
    ) -> None:
        self.prefetch = 0
        """What it consumes with."""
        self._connection = connection
        self._queue = queue
        self._on_delivery = on_delivery
        self._on_change = on_change
        self._channel: AbstractChannel | None = None
        self._tag: str | None = None
        self._last_delivery = time.monotonic()

    @property
    def is_closed(self) -> bool:
        """Whether the channel is gone."""
        return self._channel is None or self._channel.is_closed

    @property
    def is_on_queue(self) -> bool:
        """Whether there is a consumer, as far as the broker has said."""
        return self._tag is not None

    async def open(self) -> None:
        """Open the channel."""
        async with asyncio.timeout(CONNECT_TIMEOUT):
            # Of the layer below: its consume hands over every delivery, the one above drops odd ones.
            self._channel = await open_channel(self._connection)
            self._channel.closing.add_done_callback(self._closed)
            self._channel.on_consumer_cancel_callbacks.add(self._cancelled)

    async def close(self) -> None:
        """Close the channel, which comes after the acks; a connection's end overtakes those not written yet."""
        if self._channel is not None:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._channel.close()

    async def set_prefetch(self, prefetch: int) -> None:
        """Consume with this prefetch from now on; 0 takes the consumer off the queue."""
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await self._take_off()
            if prefetch and self._channel is not None:
                await self._channel.basic_qos(prefetch_count=prefetch)
                consumed = await self._channel.basic_consume(self._queue, self._delivered)
                self._tag = consumed.consumer_tag
            self.prefetch = prefetch

    async def renew(self, *, is_idle: Callable[[], bool]) -> None:
        """When nothing has come for a while and nothing is in hand, go on with a new channel and no consumer yet.

        When a queue is deleted and another program makes it again at once, RabbitMQ 3.10 moves the consumer over
        without a word, and what it hands out then never leaves the broker's channel (measured). From here that looks
        like an empty queue. So does whatever else may go wrong with a consumer at the broker.
        """
        if self._tag is None or not is_idle() or time.monotonic() - self._last_delivery < _IDLE_FOR:
            return
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await self._take_off()
        if is_idle():  # else something came at the last moment: it must be settled on its own channel
            await self.close()
            await self.open()

    async def _take_off(self) -> None:
        tag, self._tag = self._tag, None
        if tag is not None and self._channel is not None:
            await self._channel.basic_cancel(tag)
        self.prefetch = 0  # not before the answer: until then deliveries may come

    async def _delivered(self, message: DeliveredMessage) -> None:
        self._last_delivery = time.monotonic()
        self._on_delivery(message)

    def _closed(self, closing: "asyncio.Future[object]") -> None:
        self._on_change(None if closing.cancelled() else closing.exception())

    def _cancelled(self, *_: object) -> None:
        self._tag = None
        self._on_change(None)

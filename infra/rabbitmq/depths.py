"""How many messages wait in a queue, and how many consumers it has."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import AbstractChannel

from infra.rabbitmq.connection import broker_errors, close_quietly, connect, is_absent, is_open, open_channel
from infra.rabbitmq.topology import queue_of

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class QueueLook:
    """One look at a queue."""

    ready: int
    consumers: int


class QueueDepths:
    """Looks at queues on a connection of its own, opened when first needed."""

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._spare: list[AbstractChannel] = []

    async def look(self, queues: Sequence[str]) -> dict[str, QueueLook | None]:
        """Return a look at each queue, None for one that does not exist.

        Raises BrokerUnavailableError; NotPermittedError for a user without any permission for a queue, whom RabbitMQ
        lets look before 4.3.
        """
        async with self._connecting:
            connection = self._connection
            if not is_open(connection):
                await close_quietly(connection)
                self._connection = connection = await connect(self._url, name=self._name)
        return {queue: await self._look(connection, queue) for queue in queues}

    async def read(self, queues: Sequence[str]) -> dict[str, int | None]:
        """Return how many messages are ready in each queue. Raises BrokerUnavailableError."""
        return {name: look.ready if look else None for name, look in (await self.look(queues)).items()}

    async def waiting_at(self, exchange: str, routing_key: str) -> int | None:
        """Return how many messages are ready where this key leads; None when that is not one of our queues.

        Raises BrokerUnavailableError.
        """
        queue = queue_of(exchange, routing_key)
        return None if queue is None else (await self.read([queue]))[queue]

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if is_open(self._connection):
            with broker_errors():
                await self._connection.close()

    async def _look(self, connection: AbstractConnection, queue: str) -> QueueLook | None:
        # On the channel of a look before, where there is one: with one opened for each, an idle worker used a
        # fourteenth more (measured). A queue that is absent closes its channel.
        channel = self._spare.pop() if self._spare else None
        with broker_errors():
            async with asyncio.timeout(_TIMEOUT):
                try:
                    if channel is None or channel.is_closed:
                        channel = await open_channel(connection)
                    found = await channel.queue_declare(queue, passive=True)
                    self._spare.append(channel)
                except ChannelNotFoundEntity as error:
                    if is_absent(error):
                        return None
                    raise
        return QueueLook(ready=found.message_count or 0, consumers=found.consumer_count or 0)

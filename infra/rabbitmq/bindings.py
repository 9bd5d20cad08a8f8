"""Whether what is published reaches a queue, seen to again and again."""

import asyncio

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel

from infra.rabbitmq.connection import CONNECT_TIMEOUT, broker_errors, open_channel
from infra.rabbitmq.topology import Topology
from worker.domain.errors import BrokerUnavailableError
from worker.domain.log import StructuredLogger

_log = StructuredLogger("logistics.subscriber")


class Bindings:
    """One queue with its bindings and what it is bound to, on one connection, by a channel that is kept."""

    def __init__(self, connection: AbstractConnection, topology: Topology, *, queue: str) -> None:
        self._connection = connection
        self._topology = topology
        self._queue = queue
        self._channel: AbstractChannel | None = None

    async def restore(self) -> None:
        """Declare what may be missing; without its binding a sound consumer hears nothing.

        Raises TopologyMismatchError. A broker that does not answer is no error: a lost connection shows by itself.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._topology.declare_on(await self._open_channel(), queue=self._queue)
        except (BrokerUnavailableError, TimeoutError) as error:
            _log.debug("topology.not_restored", queue=self._queue, error=str(error))

    async def _open_channel(self) -> AbstractChannel:
        if self._channel is None or self._channel.is_closed:  # an error closes it, a time-out too
            with broker_errors():
                self._channel = await open_channel(self._connection)
        return self._channel

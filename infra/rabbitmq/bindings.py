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

        Raises TopologyMismatchError. Other failures wait for the next time: a lost connection shows by itself, and a
        user who may not declare needs somebody else who does.
        """
        # Kept only when all went well: of a call that timed out the client waits for a last word, maybe for ever.
        channel, self._channel = self._channel, None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                with broker_errors():
                    if channel is None or channel.is_closed:
                        channel = await open_channel(self._connection)
                    await self._topology.declare_on(channel, queue=self._queue)
                self._channel = channel
        except (BrokerUnavailableError, TimeoutError) as error:
            _log.debug("topology.not_restored", queue=self._queue, error=str(error))

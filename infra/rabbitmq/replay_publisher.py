"""Publishing the copies of a replay, to exchanges that a message's headers name."""

import asyncio
import time

from aio_pika.exceptions import ChannelNotFoundEntity

from infra.rabbitmq.connection import broker_errors, connect, is_absent
from infra.rabbitmq.publisher import ConfirmedPublisher
from worker.domain.delivery import PREVIOUS_SPAN
from worker.domain.errors import NotPermittedError, PublishError, UnroutableError
from worker.domain.trace import TraceContext, valid_traceparent
from worker.domain.tracing import NO_TRACING, ITracing

_TIMEOUT = 15.0
_LOOK_AGAIN_AFTER = 5.0


class ReplayPublisher:
    """`IReplayPublisher`: a confirmed publisher that looks first whether an exchange exists.

    A publish to an exchange that does not exist closes the channel: every other copy in flight on it would be
    reported as refused, though some have arrived. One letter of an exchange long deleted must not do that.
    """

    def __init__(
        self, url: str, *, name: str, look_again_after: float = _LOOK_AGAIN_AFTER, tracing: ITracing = NO_TRACING
    ) -> None:
        """`name`: how the connections are called at the broker. `look_again_after`: seconds, for a missing exchange."""
        self._url = url
        self._name = name
        self._look_again_after = look_again_after
        self._tracing = tracing
        self._publisher = ConfirmedPublisher(url, name=name)
        self._exists = {""}
        self._missing_until: dict[str, float] = {}
        self._looking = asyncio.Lock()

    async def publish_copy(
        self, *, exchange: str, routing_key: str, body: bytes, headers: dict[str, object], message_id: str
    ) -> None:
        """Publish one persistent message; return when the broker has confirmed it.

        Raises UnroutableError, BrokerUnavailableError (it may have arrived all the same) or PublishError (refused).
        """
        with self._tracing.publish(
            exchange=exchange,
            routing_key=routing_key,
            body=body,
            trace=TraceContext.from_headers(headers, seed=message_id),
            previous=valid_traceparent(headers.get(PREVIOUS_SPAN)),
        ) as span:
            await self._publish(exchange, routing_key, body, {**headers, **span.carried}, message_id)

    async def _publish(
        self, exchange: str, routing_key: str, body: bytes, headers: dict[str, object], message_id: str
    ) -> None:
        try:
            if not await self._has(exchange):
                raise UnroutableError(f"the exchange {exchange!r} does not exist")
            await self._publisher.publish_copy(
                exchange=exchange, routing_key=routing_key, body=body, headers=headers, message_id=message_id
            )
        except NotPermittedError as error:
            if not _is_of(error, exchange, routing_key):
                raise
            raise PublishError(str(error)) from error
        except (ValueError, TypeError) as error:  # the client refuses names and keys that AMQP has no room for
            raise PublishError(f"{exchange!r} with the key {routing_key!r} cannot be published to: {error}") from error

    async def ping(self) -> None:
        """Return when the connection is open. Raises BrokerUnavailableError."""
        await self._publisher.ping()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._publisher.close()

    async def _has(self, exchange: str) -> bool:
        """Return whether the exchange exists; one that was missing a few seconds ago is missing still."""
        async with self._looking:
            if exchange in self._exists or time.monotonic() < self._missing_until.get(exchange, 0.0):
                return exchange in self._exists
            if await self._look(exchange):
                self._exists.add(exchange)
            else:
                self._missing_until[exchange] = time.monotonic() + self._look_again_after
        return exchange in self._exists

    async def _look(self, exchange: str) -> bool:
        # On a connection of its own: the answer "no" closes the channel, and there are few exchanges to ask for.
        connection = await connect(self._url, name=f"{self._name} look")
        try:
            with broker_errors():
                async with asyncio.timeout(_TIMEOUT):
                    channel = await connection.channel()
                    try:
                        await channel.get_exchange(exchange, ensure=True)
                    except ChannelNotFoundEntity as error:
                        if is_absent(error):
                            return False
                        raise
            return True
        finally:
            await connection.close()


def _is_of(error: NotPermittedError, exchange: str, routing_key: str) -> bool:
    """Whether a refusal is of a publish like this one, and not of another that was in flight on the channel."""
    name, text = exchange or "amq.default", str(error)
    return f"access to exchange '{name}'" in text or f"access to topic '{routing_key}' in exchange '{name}'" in text

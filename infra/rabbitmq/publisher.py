"""Publishing with confirms: returns when the broker has the message, raises otherwise."""

import asyncio
import re
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import ChannelClosed, DeliveryError
from aio_pika.exceptions import PublishError as ReturnedError
from pamqp.commands import Basic

from infra.rabbitmq.connection import broker_errors, check_tls_files, close_quietly, connect, is_open
from infra.rabbitmq.header_values import ExactMessage
from infra.rabbitmq.headers import fitting_headers
from worker.domain.errors import BrokerUnavailableError, MessageTooLargeError, PublishError, UnroutableError

_CONFIRM_TIMEOUT = 30.0
_REFUSED_CHANNEL_LIFE = 3.0
"""Seconds a channel is kept on which something was refused; not less, so that a hundred refusals cost few channels."""
_SIZE_LIMIT = re.compile(r"message size \d+ is larger than configured max size (\d+)")


class ConfirmedPublisher:
    """Publishes persistent, mandatory messages on a connection of its own, opened when first needed.

    Many publishes may be awaited at once; their confirms are in flight together.
    """

    def __init__(self, url: str, *, name: str) -> None:
        """`name`: how the connection is called at the broker. Raises ConfigurationError for a TLS file in the URL that
        cannot be used."""
        check_tls_files(url)
        self._url = url
        self._name = name
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchanges: dict[str, AbstractExchange] = {}
        self._opening = asyncio.Lock()
        self._opened_at = 0.0
        self._retiring: set[asyncio.Task[None]] = set()

    async def publish(
        self,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        headers: dict[str, object],
        message_id: str | None = None,
        like: Basic.Properties | None = None,
    ) -> None:
        """Publish one message; return when the broker has confirmed it.

        `like`: take content type, timestamp and the like from these properties. A message id is drawn when none is
        given; never give one that is in flight already. Raises UnroutableError, MessageTooLargeError,
        BrokerUnavailableError (it may have arrived all the same) or PublishError (the broker refused it, a queue is
        full).
        """
        message = ExactMessage(
            body,
            headers=fitting_headers(headers),
            message_id=message_id or uuid.uuid4().hex,
            delivery_mode=DeliveryMode.PERSISTENT,
            content_type=(like.content_type if like else None) or "application/json",
            content_encoding=like.content_encoding if like else None,
            correlation_id=like.correlation_id if like else None,
            type=like.message_type if like else None,
            app_id=like.app_id if like else None,
            timestamp=like.timestamp if like else datetime.now(UTC).replace(microsecond=0),  # as AMQP has it
        )
        with broker_errors():
            target = await self._exchange(exchange)
            try:
                await target.publish(message, routing_key, mandatory=True, timeout=_CONFIRM_TIMEOUT)
            except ReturnedError as error:
                raise UnroutableError(f"no queue is bound to the exchange {exchange!r} for {routing_key!r}") from error
            except ChannelClosed as error:
                # For every publish in flight: to those that are not at fault it is a connection that was lost.
                if (fault := _fault(error, exchange=exchange, size=len(body))) is not None:
                    raise fault from error
                raise
            except DeliveryError as error:
                self._retire_channel()
                raise PublishError(f"the broker refused the message: a queue behind {exchange!r} is full") from error

    async def publish_copy(
        self, *, exchange: str, routing_key: str, body: bytes, headers: dict[str, object], message_id: str
    ) -> None:
        """Publish a replay's copy (`IReplayPublisher`)."""
        await self.publish(
            exchange=exchange, routing_key=routing_key, body=body, headers=headers, message_id=message_id
        )

    async def ping(self) -> None:
        """Return when the connection is open. Raises BrokerUnavailableError."""
        with broker_errors():
            await self._exchange("")

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection, self._channel = self._connection, None, None
        for task in self._retiring:
            task.cancel()
        if is_open(connection):
            with broker_errors():
                await connection.close()

    async def _exchange(self, name: str) -> AbstractExchange:
        channel = self._channel
        if channel is None or channel.is_closed:
            async with self._opening:
                channel = await self._open()
        exchange = self._exchanges.get(name)
        if exchange is None:
            exchange = await channel.get_exchange(name, ensure=False) if name else channel.default_exchange
            self._exchanges[name] = exchange
        return exchange

    def _retire_channel(self) -> None:
        """Use another channel from now on; what is in flight on this one may still be confirmed.

        A quorum queue tells a channel that it is full, and later that there is room: but not when its limit is lifted
        (measured on 3.10). The channel would go on refusing for ever.
        """
        channel = self._channel
        if channel is not None and time.monotonic() - self._opened_at >= _REFUSED_CHANNEL_LIFE:
            self._channel = None
            retiring = asyncio.create_task(_close_later(channel))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    async def _open(self) -> AbstractChannel:
        """Return an open channel; an error on a publish closes the channel, an outage the connection."""
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        self._exchanges.clear()
        async with asyncio.timeout(_CONFIRM_TIMEOUT):
            connection = self._connection
            if not is_open(connection):
                await close_quietly(connection)
                self._connection = connection = await connect(self._url, name=self._name)
            self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            self._opened_at = time.monotonic()
        return self._channel


def _fault(error: ChannelClosed, *, exchange: str, size: int) -> PublishError | None:
    """Return what is wrong with such a message; None when another one closed the channel."""
    if f"no exchange '{exchange}'" in str(error):
        return UnroutableError(f"the exchange {exchange!r} does not exist")
    limit = _SIZE_LIMIT.search(str(error))
    if limit is not None and size > int(limit[1]):
        return MessageTooLargeError(f"the message has {size} bytes; the broker's max_message_size is {limit[1]}")
    return None


async def _close_later(channel: AbstractChannel) -> None:
    await asyncio.sleep(_CONFIRM_TIMEOUT)
    with suppress(BrokerUnavailableError), broker_errors():
        await channel.close()

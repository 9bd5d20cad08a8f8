"""Connections to RabbitMQ, and the translation of their errors."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeGuard
from urllib.parse import parse_qsl, urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelNotFoundEntity,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from infra.rabbitmq.lenient import LenientTransport, PlainTransport
from infra.rabbitmq.nodes import node_urls
from infra.rabbitmq.paced import BytesInHand, PacedTransport
from infra.tls import TlsFiles, client_context, questioned
from worker.domain.errors import BrokerRefusedError, BrokerUnavailableError, ConfigurationError, NotPermittedError

HEARTBEAT = 10
"""Seconds. A silent TCP death takes three of them to notice."""
CONNECT_TIMEOUT = 10.0
_TLS_NAMES = TlsFiles(*(f"LOGISTICS_AMQP_URL, {name}" for name in ("cafile", "certfile", "keyfile")))
_BROKER_ERRORS = (AMQPError, OSError, TimeoutError, RuntimeError)
"""What the client raises when the broker is away, nearly always; a closed channel is a RuntimeError."""


async def connect(
    url: str, *, name: str, lenient: bool = False, in_hand: BytesInHand | None = None
) -> AbstractConnection:
    """Open a plain connection, visible at the broker under `name`, to the first node of the address that takes it.

    Not one that restores itself: whoever uses it notices that it is gone and starts over, so there is one place
    that knows whether a consumer is there. `lenient`: see `infra.rabbitmq.lenient`; it costs some speed. `in_hand`:
    read only while there is room, see `infra.rabbitmq.paced`. Raises BrokerUnavailableError.
    """
    try:
        check_tls_files(url)
    except ConfigurationError as error:  # they were good at the start: somebody is just replacing them
        raise BrokerUnavailableError(str(error)) from error
    *others, last = node_urls(url)
    for node in others:
        with suppress(BrokerUnavailableError):
            return await _connect(node, name, lenient=lenient, in_hand=in_hand)
    return await _connect(last, name, lenient=lenient, in_hand=in_hand)


async def _connect(url: str, name: str, *, lenient: bool, in_hand: BytesInHand | None) -> AbstractConnection:
    with broker_errors(is_new=True):
        target = aio_pika.connection.make_url(url, heartbeat=HEARTBEAT)
        connection = aio_pika.Connection(target, client_properties={"connection_name": name})
        transport = LenientTransport() if lenient else PlainTransport()
        connection.kwargs["transport_factory"] = PacedTransport(transport, in_hand) if in_hand else transport
        try:
            await connection.connect(timeout=CONNECT_TIMEOUT)
        except InvalidFrameError as error:  # all that is left of the broker's "vhost not found" after the handshake
            raise BrokerUnavailableError(
                "RabbitMQ does not open the vhost of LOGISTICS_AMQP_URL: not there, down, or not for this user"
            ) from error
        finally:
            if not connection.connected.is_set():
                await close_quietly(connection)
        return connection


def check_tls_files(url: str) -> None:
    """Raise ConfigurationError when a file that an amqps:// address names cannot be used.

    The client reads them again for each connection, so that renewed ones are taken without a restart.
    """
    address = urlsplit(url)
    if address.scheme == "amqps":
        options = dict(parse_qsl(address.query))
        client_context(TlsFiles(*map(options.get, ("cafile", "certfile", "keyfile"))), names=_TLS_NAMES)


def is_open(connection: AbstractConnection | None) -> TypeGuard[AbstractConnection]:
    """Return whether there is a connection and it was not lost.

    aio_pika's own `is_closed` tells only whether we closed it: of a lost connection it says False for ever.
    """
    transport = connection.transport if connection is not None else None
    return transport is not None and not transport.connection.is_closed


async def close_quietly(connection: AbstractConnection | None) -> None:
    """Close a connection in whatever state it is, a lost one and one that never opened included.

    Left to the garbage collector, it would be closed from any thread, and complain on standard error.
    """
    if connection is not None:
        with suppress(BrokerUnavailableError), broker_errors():
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.close()


async def open_channel(connection: AbstractConnection) -> AbstractChannel:
    """Open a channel of the layer below aio_pika, without publisher confirms, for what is opened again and again.

    Of each channel of its own aio_pika 10.2 keeps 4 kB until the connection is closed (measured): a worker, which looks
    at its queues all day, would grow by more than a hundred megabytes until the evening. Raises what the client raises.
    """
    transport = connection.transport
    if transport is None:
        raise ConnectionError("the connection is closed")
    return await transport.connection.channel(publisher_confirms=False)


def is_absent(error: ChannelNotFoundEntity) -> bool:
    """Return whether there is no such queue or exchange.

    "Not found" is also said of one whose node is down, and by RabbitMQ 4.3 now and then of a queue that another
    connection is declaring at this moment (seen).
    """
    return "NOT_FOUND - no " in str(error)


@contextmanager
def broker_errors(*, is_new: bool = False) -> Iterator[None]:
    """Turn the client's many errors into BrokerUnavailableError, BrokerRefusedError where that is what it is.

    `is_new`: the connection is only being opened.
    """
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task is not None else 0
    try:
        yield
    except (AuthenticationError, ProbableAuthenticationError) as error:
        raise BrokerRefusedError("RabbitMQ refuses the user, password or vhost of LOGISTICS_AMQP_URL") from error
    except ChannelAccessRefused as error:
        raise NotPermittedError(f"RabbitMQ does not permit the user of LOGISTICS_AMQP_URL: {error}") from error
    except _BROKER_ERRORS as error:
        # The client now and then answers a cancellation, a time-out included, with an error of its own (measured: a
        # third of those that came while it connected). Whoever tries again after an error would never end.
        if task is not None and task.cancelling() > cancelled_before:
            raise asyncio.CancelledError from error
        text = questioned(_words(error)) if is_new else _words(error)
        raise BrokerUnavailableError(f"RabbitMQ is not reachable: {text} ({type(error).__name__})") from error
    except Exception as error:
        # A connection that ends without a reason fails whoever waits on it with a bare Exception.
        if type(error) is not Exception:
            raise
        raise BrokerUnavailableError("RabbitMQ is not reachable: the connection was lost") from error
    except asyncio.CancelledError as error:
        # The client cancels whoever waits on a connection that missed its heartbeats. Passed on, that would end a task
        # nobody wanted to end: a delivery would stay unsettled on a healthy consumer for ever.
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailableError("RabbitMQ is not reachable: the connection fell silent") from error


def _words(error: BaseException) -> str:
    """Return what an error says, without the client's own object names."""
    text = str(error)[:300]
    return "the connection was lost" if " at 0x" in text or "<Connection" in text else text or "no answer in time"

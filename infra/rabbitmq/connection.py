"""Connections to RabbitMQ, and the translation of their errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, AuthenticationError, ProbableAuthenticationError

from infra.rabbitmq.lenient import LenientTransport
from worker.domain.errors import BrokerUnavailableError

HEARTBEAT = 10
"""Seconds. A silent TCP death takes three of them to notice."""
CONNECT_TIMEOUT = 10.0
BROKER_ERRORS = (AMQPError, OSError, TimeoutError, RuntimeError)
"""What the client raises when the broker is away; a closed channel is a RuntimeError."""


async def connect(url: str, *, name: str, lenient: bool = False) -> AbstractConnection:
    """Open a plain connection, visible at the broker under `name`.

    Not one that restores itself: whoever uses it notices that it is gone and starts over, so there is one place
    that knows whether a consumer is there. `lenient`: see `infra.rabbitmq.lenient`; it costs some speed. Raises
    BrokerUnavailableError.
    """
    with broker_errors():
        target = aio_pika.connection.make_url(url, heartbeat=HEARTBEAT)
        connection = aio_pika.Connection(target, client_properties={"connection_name": name})
        if lenient:
            connection.kwargs["transport_factory"] = LenientTransport()
        await connection.connect(timeout=CONNECT_TIMEOUT)
        return connection


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn the client's many errors into BrokerUnavailableError."""
    try:
        yield
    except (AuthenticationError, ProbableAuthenticationError) as error:
        raise BrokerUnavailableError("RabbitMQ refuses the user, password or vhost of LOGISTICS_AMQP_URL") from error
    except BROKER_ERRORS as error:
        text = str(error)[:300] or "no answer in time"
        raise BrokerUnavailableError(f"RabbitMQ is not reachable: {text} ({type(error).__name__})") from error

"""How a broker's exchanges and queues differ from what they should be; nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from infra.rabbitmq.connection import broker_errors, connect, is_absent, open_channel
from infra.rabbitmq.topology import TIMEOUT, Exchange, Queue, Topology, describe_mismatch
from worker.domain.errors import NotPermittedError

_PASSIVE, _ACTIVE = True, False


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing at the broker that is not as it should be."""

    name: str
    problem: str


async def differences(wanted: Topology, url: str) -> list[Difference]:
    """Return what is missing or different at the broker.

    Bindings cannot be asked for over AMQP; `Topology.declare` restores a missing one. Raises NotPermittedError for a
    user that may not configure all of it, BrokerUnavailableError.
    """
    return await _differences(wanted, url, looks=(_PASSIVE, _ACTIVE))


async def missing(wanted: Topology, url: str) -> list[Difference]:
    """Return what is missing at the broker, as far as a user sees it who may not configure it.

    Since RabbitMQ 4.3 that is only what it has some permission for; before, everything. Raises
    BrokerUnavailableError.
    """
    return await _differences(wanted, url, looks=(_PASSIVE,))


async def _differences(wanted: Topology, url: str, *, looks: Sequence[bool]) -> list[Difference]:
    connection = await connect(url, name="logistics topology verify")
    try:
        found = []
        things: list[Exchange | Queue] = [*wanted.exchanges, *wanted.queues]
        for thing in things:
            try:
                problem = await _compare(connection, thing, looks)
            except NotPermittedError:
                if _ACTIVE in looks:
                    raise
                continue
            if problem is not None:
                found.append(Difference(thing.name, problem))
        return found
    finally:
        await connection.close()


async def _compare(connection: AbstractConnection, thing: Exchange | Queue, looks: Sequence[bool]) -> str | None:
    """Return how one thing differs, None when it is right.

    A passive declare first (an active one would create it), then an active one, which compares and needs the
    permission to configure. Each on a channel of its own, because an error closes the channel.
    """
    for passive in looks:
        with broker_errors():
            channel = await open_channel(connection)
            try:
                if isinstance(thing, Exchange):
                    await channel.exchange_declare(
                        thing.name, exchange_type=thing.kind, durable=True, passive=passive, timeout=TIMEOUT
                    )
                else:
                    await channel.queue_declare(
                        thing.name, durable=True, passive=passive, arguments=dict(thing.arguments), timeout=TIMEOUT
                    )
                await channel.close()
            except ChannelNotFoundEntity as error:
                if is_absent(error):
                    return "is missing"
                raise
            except ChannelPreconditionFailed as error:
                return describe_mismatch(str(error))
    return None

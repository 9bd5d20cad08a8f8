"""A queue's bindings are seen to on one connection, whatever happened at the broker since the last time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel

from infra.rabbitmq import bindings as module
from infra.rabbitmq.bindings import Bindings
from infra.rabbitmq.connection import connect, open_channel
from infra.rabbitmq.topology import ORDERS_EXCHANGE, WORK_QUEUE, Topology
from tests.conftest import Broker
from worker.domain.errors import TopologyMismatchError


class Falling(Topology):
    """A topology whose broker falls silent."""

    is_silent = False

    async def declare_on(self, channel: AbstractChannel, *, queue: str | None = None) -> None:
        if self.is_silent:
            await asyncio.Event().wait()
        await super().declare_on(channel, queue=queue)


@pytest.fixture
async def connection(broker: Broker) -> AsyncIterator[AbstractConnection]:
    """A connection to a broker that has all queues."""
    await Topology().ensure(broker.amqp_url)
    opened = await connect(broker.amqp_url, name="test")
    yield opened
    await opened.close()


async def arrives(connection: AbstractConnection) -> bool:
    """Whether an order published now comes to its queue."""
    channel = await connection.channel()
    exchange = await channel.get_exchange(ORDERS_EXCHANGE, ensure=False)
    queue = await channel.get_queue(WORK_QUEUE, ensure=False)
    await queue.purge()
    await exchange.publish(Message(b"{}"), "order.placed", mandatory=False)
    found = await queue.get(no_ack=True, fail=False)
    await channel.close()
    return found is not None


async def test_what_was_deleted_or_unbound_is_there_again_after_the_next_look(connection: AbstractConnection) -> None:
    channel = await open_channel(connection)
    bindings = Bindings(connection, Topology(), queue=WORK_QUEUE)
    await bindings.restore()
    await channel.queue_unbind(WORK_QUEUE, ORDERS_EXCHANGE, "order.#")
    assert not await arrives(connection)
    await bindings.restore()
    assert await arrives(connection)
    await channel.exchange_delete(ORDERS_EXCHANGE)
    await bindings.restore()
    assert await arrives(connection)
    await channel.queue_delete(WORK_QUEUE)
    await bindings.restore()
    assert await arrives(connection)


async def test_a_look_that_failed_does_not_end_the_looks(connection: AbstractConnection) -> None:
    channel = await open_channel(connection)
    bindings = Bindings(connection, Topology(), queue=WORK_QUEUE)
    await bindings.restore()
    await channel.queue_delete(WORK_QUEUE)
    await channel.queue_declare(WORK_QUEUE, durable=True)
    with pytest.raises(TopologyMismatchError, match=r"queue orders\.work"):
        await bindings.restore()
    await channel.queue_delete(WORK_QUEUE)
    await bindings.restore()
    assert await arrives(connection)


async def test_the_looks_share_a_channel_until_one_of_them_gets_no_answer(
    connection: AbstractConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[AbstractConnection] = []

    async def opening(connection: AbstractConnection) -> AbstractChannel:
        opened.append(connection)
        return await open_channel(connection)

    monkeypatch.setattr(module, "open_channel", opening)
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.5)
    topology = Falling()
    bindings = Bindings(connection, topology, queue=WORK_QUEUE)
    for _ in range(3):
        await bindings.restore()
    assert len(opened) == 1
    topology.is_silent = True
    await bindings.restore()
    topology.is_silent = False
    await bindings.restore()
    await bindings.restore()
    assert len(opened) == 2
    assert await arrives(connection)


async def test_a_connection_that_is_closed_is_no_error_of_the_look(connection: AbstractConnection) -> None:
    bindings = Bindings(connection, Topology(), queue=WORK_QUEUE)
    await bindings.restore()
    await connection.close()
    await bindings.restore()

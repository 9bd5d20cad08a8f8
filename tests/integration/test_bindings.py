"""A queue's bindings are seen to on one connection, whatever happened at the broker since the last time."""

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractConnection

from infra.rabbitmq.bindings import Bindings
from infra.rabbitmq.connection import connect, open_channel
from infra.rabbitmq.topology import ORDERS_EXCHANGE, WORK_QUEUE, Topology
from tests.conftest import Broker
from worker.domain.errors import TopologyMismatchError


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


async def test_what_was_deleted_or_unbound_is_there_again_after_the_next_look(broker: Broker) -> None:
    topology = Topology()
    await topology.ensure(broker.amqp_url)
    connection = await connect(broker.amqp_url, name="test")
    channel = await open_channel(connection)
    bindings = Bindings(connection, topology, queue=WORK_QUEUE)
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
    await connection.close()


async def test_a_look_that_failed_does_not_end_the_looks(broker: Broker) -> None:
    topology = Topology()
    await topology.ensure(broker.amqp_url)
    connection = await connect(broker.amqp_url, name="test")
    channel = await open_channel(connection)
    bindings = Bindings(connection, topology, queue=WORK_QUEUE)
    await bindings.restore()
    await channel.queue_delete(WORK_QUEUE)
    await channel.queue_declare(WORK_QUEUE, durable=True)
    with pytest.raises(TopologyMismatchError, match=r"queue orders\.work"):
        await bindings.restore()
    await channel.queue_delete(WORK_QUEUE)
    await bindings.restore()
    assert await arrives(connection)
    await connection.close()


async def test_a_lost_connection_is_no_error_of_the_look(broker: Broker) -> None:
    topology = Topology()
    await topology.ensure(broker.amqp_url)
    connection = await connect(broker.amqp_url, name="test")
    bindings = Bindings(connection, topology, queue=WORK_QUEUE)
    await bindings.restore()
    await connection.close()
    await bindings.restore()

"""What is done all day on one connection leaves nothing behind on it."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

from infra.rabbitmq.bindings import Bindings
from infra.rabbitmq.connection import connect
from infra.rabbitmq.consumer import Consumer
from infra.rabbitmq.depths import QueueDepths
from infra.rabbitmq.topology import DELIVERED_QUEUE, WORK_QUEUE, Topology
from tests.conftest import Broker

_TIMES = 100
_WARM = 20


async def objects_kept_by(action: Callable[[], Awaitable[object]]) -> float:
    """How many objects one go of an action leaves behind."""
    for _ in range(_WARM):
        await action()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(_TIMES):
        await action()
    await asyncio.sleep(0.1)
    gc.collect()
    return (len(gc.get_objects()) - before) / _TIMES


async def test_looks_at_queues_leave_nothing_behind(broker: Broker) -> None:
    await Topology().ensure(broker.amqp_url)
    depths = QueueDepths(broker.amqp_url, name="test")
    assert await objects_kept_by(lambda: depths.look([WORK_QUEUE])) < 2
    assert await objects_kept_by(lambda: asyncio.gather(*(depths.look([WORK_QUEUE]) for _ in range(3)))) < 2
    assert await objects_kept_by(lambda: depths.look([WORK_QUEUE, "orders.missing", WORK_QUEUE])) < 2
    assert await objects_kept_by(lambda: depths.look(["orders.missing"])) < 2
    await depths.close()


async def test_bindings_restored_again_and_again_leave_nothing_behind(broker: Broker) -> None:
    connection = await connect(broker.amqp_url, name="test")
    topology = Topology()
    await topology.declare(connection)
    assert await objects_kept_by(lambda: topology.declare(connection)) < 2
    bindings = Bindings(connection, topology, queue=DELIVERED_QUEUE)
    assert await objects_kept_by(bindings.restore) < 2
    await connection.close()


async def test_a_consumer_renewed_again_and_again_leaves_nothing_behind(broker: Broker) -> None:
    await Topology().ensure(broker.amqp_url)
    connection = await connect(broker.amqp_url, name="test")
    consumer = Consumer(connection, queue=WORK_QUEUE, on_delivery=lambda _: None, on_change=lambda _: None)
    await consumer.open()

    async def renew() -> None:
        await consumer.set_prefetch(10)
        await consumer.close()
        await consumer.open()

    assert await objects_kept_by(renew) < 2
    await connection.close()

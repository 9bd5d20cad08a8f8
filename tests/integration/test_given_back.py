"""A delivery that nobody can handle is given back, and ends as a dead letter: with every RabbitMQ.

Since 4.3 a queue counts a reject towards its delivery limit, and a nack no more: the message would come back for ever.
"""

import asyncio

import aio_pika
import pytest

from infra.rabbitmq import settlement
from infra.rabbitmq.publisher import ConfirmedPublisher
from infra.rabbitmq.settlement import Settlement
from infra.rabbitmq.subscriber import Subscriber
from infra.rabbitmq.topology import DEAD_LETTER_QUEUE, RETRY_EXCHANGE, WORK_QUEUE, Topology
from tests.conftest import Broker
from tests.support.messages import channel_of, take_all, waiting
from tests.support.system import eventually
from worker.domain.delivery import Delivery
from worker.domain.outcome import Ack, Outcome


async def test_what_breaks_its_handling_each_time_is_a_dead_letter_after_20_redeliveries(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "_REQUEUE_PAUSE", 0.05)
    topology = Topology()
    await topology.ensure(broker.amqp_url)
    async with channel_of(broker.amqp_url) as channel:
        for body in (b"breaks", b"good"):
            await channel.default_exchange.publish(aio_pika.Message(body), WORK_QUEUE)
    came: list[bytes] = []

    async def handle(delivery: Delivery) -> Outcome:
        came.append(delivery.body)
        if delivery.body == b"breaks":
            raise ValueError("a fault of ours")
        return Ack("done")

    async def restore() -> None:
        await topology.ensure(broker.amqp_url)

    publisher = ConfirmedPublisher(broker.amqp_url, name="given back")
    ours = Subscriber(
        broker.amqp_url, queue=WORK_QUEUE, name="given back", topology=topology, handle=handle,
        settlement=Settlement(publisher, retry_exchange=RETRY_EXCHANGE, restore_topology=restore),
    )  # fmt: skip
    ours.set_intake_limit(10)
    running = asyncio.create_task(ours.run())

    async def is_given_up() -> bool:
        return await waiting(broker.amqp_url, DEAD_LETTER_QUEUE) == 1

    await eventually(is_given_up, every=0.2)
    assert await ours.stop(deadline=5.0)
    await running
    assert (came.count(b"breaks"), came.count(b"good")) == (21, 1)
    (dead,) = await take_all(broker.amqp_url, DEAD_LETTER_QUEUE)
    assert dead.body == b"breaks"
    assert dead.headers["x-first-death-reason"] == "delivery_limit"

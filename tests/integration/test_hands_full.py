"""A subscriber whose hands are full reads nothing more: it must not take the broker's silence for a lost connection."""

import asyncio

import aio_pika
import pytest

from infra.rabbitmq import bindings, consumer, subscriber
from infra.rabbitmq.paced import MOST_BYTES
from infra.rabbitmq.settlement import RequeueSettlement
from infra.rabbitmq.subscriber import Subscriber
from infra.rabbitmq.topology import WORK_QUEUE, Topology
from tests.conftest import Broker
from tests.support.messages import channel_of, waiting
from tests.support.system import eventually
from worker.domain.delivery import Delivery
from worker.domain.outcome import Ack, Outcome

BODY = bytes(1024 * 1024)
FULL = MOST_BYTES // len(BODY)
ORDERS = FULL + 16


async def test_full_hands_are_no_lost_connection_and_a_pause_comes_through_when_there_is_room(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bindings, consumer):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 3.0)
    monkeypatch.setattr(subscriber, "_LOOK_EVERY", 0.5)
    topology = Topology()
    await topology.ensure(broker.amqp_url)
    async with channel_of(broker.amqp_url) as channel:
        for _ in range(ORDERS):
            await channel.default_exchange.publish(aio_pika.Message(BODY), WORK_QUEUE)
    let_go = asyncio.Event()
    came: list[Delivery] = []

    async def hold(delivery: Delivery) -> Outcome:
        came.append(delivery)
        await let_go.wait()
        return Ack("done")

    ours = Subscriber(
        broker.amqp_url, queue=WORK_QUEUE, name="full", topology=topology, handle=hold, settlement=RequeueSettlement()
    )
    ours.set_intake_limit(ORDERS)
    running = asyncio.create_task(ours.run())
    await eventually(lambda: len(came) >= FULL)
    ours.set_intake_limit(0)
    await asyncio.sleep(5.0)  # longer than the time-out, and than ten pauses between looks at the bindings
    assert ours.is_connected
    assert len(came) < FULL + 3
    let_go.set()
    await eventually(lambda: len(came) == ORDERS and not ours.in_flight)
    assert not any(delivery.redelivered for delivery in came)
    assert await ours.stop(deadline=5.0)
    await running
    assert await waiting(broker.amqp_url, WORK_QUEUE) == 0

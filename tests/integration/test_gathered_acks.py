"""Gathered acks on a real broker: whatever the order in which deliveries are done with, none is lost, none is kept."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.abc import DeliveredMessage

from infra.rabbitmq.gathered_acks import GatheredAcks, Word
from infra.rabbitmq.settlement import RequeueSettlement
from tests.conftest import Broker
from tests.support.messages import take_all, waiting
from tests.support.system import eventually
from worker.domain.outcome import Ack

QUEUE = "acks"
BEYOND = 20
"""Acks of one each; from 32 on RabbitMQ keeps those of a quorum queue waiting, and a channel's end forgets them."""
either = pytest.mark.parametrize("wait_for_gaps", [True, False])


@dataclass
class Room:
    """A consumer of a quorum queue, and what it was handed."""

    broker: Broker
    channel: AbstractChannel
    deliveries: list[DeliveredMessage] = field(default_factory=list)

    async def handed(self, count: int) -> list[DeliveredMessage]:
        await eventually(lambda: len(self.deliveries) >= count)
        return self.deliveries[:count]

    async def ready(self) -> int:
        return await waiting(self.broker.amqp_url, QUEUE)

    async def close(self) -> None:
        """Close the channel: what is not settled becomes ready again."""
        await self.channel.close()


@pytest.fixture
async def room(broker: Broker) -> AsyncIterator[Room]:
    connection = await aio_pika.connect(broker.amqp_url, timeout=10)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1000)
        await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        for number in range(200):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % number), QUEUE)
        room = Room(broker, channel)

        async def keep(message: DeliveredMessage) -> None:
            room.deliveries.append(message)

        underlay = await channel.get_underlay_channel()
        await underlay.basic_consume(QUEUE, keep)
        yield room


@either
async def test_deliveries_done_with_in_any_order_are_all_acknowledged(room: Room, wait_for_gaps: bool) -> None:
    acks = GatheredAcks(wait_for_gaps=wait_for_gaps)
    deliveries = await room.handed(200)
    shuffled = random.Random(7).sample(deliveries, k=200)
    await asyncio.gather(*(acks.settle(message, Word.ACK) for message in shuffled))
    await room.close()
    assert await room.ready() == 0


@either
async def test_what_is_given_back_comes_back_and_nothing_else_does(room: Room, wait_for_gaps: bool) -> None:
    acks = GatheredAcks(wait_for_gaps=wait_for_gaps)
    deliveries = await room.handed(200)
    back = {b"3", b"50", b"51", b"199"}

    async def settle(message: DeliveredMessage) -> None:
        await asyncio.sleep(random.Random(message.body).random() / 10)
        await acks.settle(message, Word.NACK if message.body in back else Word.ACK)

    await asyncio.gather(*map(settle, deliveries))
    again = (await room.handed(204))[200:]
    assert {message.body for message in again} == back
    assert {message.redelivered for message in again} == {True}
    await asyncio.gather(*(acks.settle(message, Word.ACK) for message in again))
    await room.close()
    assert await room.ready() == 0


async def test_a_delivery_that_is_not_done_with_keeps_what_waits_for_the_gap_to_close(room: Room) -> None:
    acks = GatheredAcks(wait_for_gaps=True)
    first, *others = await room.handed(200)
    behind = asyncio.gather(*(acks.settle(message, Word.ACK) for message in others))
    done, _ = await asyncio.wait([behind], timeout=0.3)
    assert not done, "an ack of a run with a gap would acknowledge the one in hand"
    await acks.settle(first, Word.ACK)
    await asyncio.wait_for(behind, timeout=5)
    await room.close()
    assert await room.ready() == 0


async def test_what_waits_for_no_gap_to_close_is_acknowledged_by_itself(room: Room) -> None:
    acks = GatheredAcks(wait_for_gaps=False)
    slow, *others = await room.handed(200)
    async with asyncio.timeout(5):
        await asyncio.gather(*(acks.settle(message, Word.ACK) for message in others[:BEYOND]))
    await asyncio.gather(*(acks.settle(message, Word.ACK) for message in [slow, *others[BEYOND:]]))
    await room.close()
    assert await room.ready() == 0


async def test_a_worker_that_dies_loses_neither_what_it_has_in_hand_nor_what_waits_behind_it(room: Room) -> None:
    acks = GatheredAcks(wait_for_gaps=True)
    _, *others = await room.handed(200)
    behind = [asyncio.create_task(acks.settle(message, Word.ACK)) for message in others]
    await asyncio.sleep(0.1)
    await room.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*behind)  # they are let go: the broker delivers them again
    assert await room.ready() == 200
    assert len(await take_all(room.broker.amqp_url, QUEUE)) == 200


async def test_a_worker_that_dies_gets_back_what_it_had_in_hand_and_nothing_that_was_acknowledged(room: Room) -> None:
    acks = GatheredAcks(wait_for_gaps=False)
    slow, *others = await room.handed(200)
    await asyncio.gather(*(acks.settle(message, Word.ACK) for message in others[:BEYOND]))
    await room.close()
    again = {message.body for message in await take_all(room.broker.amqp_url, QUEUE)}
    assert again == {message.body for message in [slow, *others[BEYOND:]]}


@either
async def test_settling_on_a_channel_that_is_gone_ends_and_changes_nothing(room: Room, wait_for_gaps: bool) -> None:
    acks = GatheredAcks(wait_for_gaps=wait_for_gaps)
    deliveries = await room.handed(200)
    await room.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*(acks.settle(message, Word.ACK) for message in deliveries))
    assert await room.ready() == 200


async def test_a_fault_of_ours_gives_the_delivery_back_without_blocking_the_others(room: Room) -> None:
    settlement = RequeueSettlement()
    first, *others = await room.handed(200)
    await asyncio.gather(settlement.give_back(first), *(settlement.settle(message, Ack("filed")) for message in others))
    (again,) = (await room.handed(201))[200:]
    assert (again.body, again.redelivered) == (b"0", True)

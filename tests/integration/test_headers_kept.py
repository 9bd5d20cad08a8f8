"""What a publisher puts into headers, through a real broker's queues and back."""

import asyncio
import math
from datetime import UTC, datetime

import pytest
from pamqp.commands import Basic

from infra.rabbitmq.publisher import ConfirmedPublisher
from infra.rabbitmq.topology import DEAD_LETTER_EXCHANGE, DEAD_LETTER_QUEUE, RETRY_EXCHANGE, WORK_QUEUE, Topology
from tests.conftest import Broker
from tests.support.messages import take_all, waiting
from tests.support.system import eventually

MILLISECONDS = datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC)
HEADERS: dict[str, object] = {
    "x-weight": 0.1,
    "x-at": MILLISECONDS,
    "x-raw": b"\xff\x00",
    "n" * 254 + "1": [1, {"deep": 1e300}],
    "n" * 254 + "2": None,
}


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [(RETRY_EXCHANGE, "1s", WORK_QUEUE), (DEAD_LETTER_EXCHANGE, "", DEAD_LETTER_QUEUE)],
)
async def test_headers_and_timestamp_arrive_as_they_were(broker: Broker, exchange: str, key: str, queue: str) -> None:
    await Topology().ensure(broker.amqp_url)
    publisher = ConfirmedPublisher(broker.amqp_url, name="test")
    like = Basic.Properties(timestamp=MILLISECONDS)
    await publisher.publish(exchange=exchange, routing_key=key, body=b"{}", headers=HEADERS, like=like)
    await publisher.close()

    async def has_arrived() -> bool:
        return await waiting(broker.amqp_url, queue) == 1

    await eventually(has_arrived)
    (message,) = await take_all(broker.amqp_url, queue)
    assert {name: message.headers[name] for name in HEADERS} == HEADERS
    assert message.timestamp == MILLISECONDS


async def test_a_header_on_which_the_broker_would_close_the_connection_hurts_nobody(broker: Broker) -> None:
    await Topology().ensure(broker.amqp_url)
    publisher = ConfirmedPublisher(broker.amqp_url, name="test")
    numbers = [*range(20), math.nan, math.inf]
    publishes = [
        publisher.publish(exchange=DEAD_LETTER_EXCHANGE, routing_key="", body=b"{}", headers={"x-number": number})
        for number in numbers
    ]
    await asyncio.gather(*publishes)
    await publisher.close()
    arrived = [message.headers.get("x-number") for message in await take_all(broker.amqp_url, DEAD_LETTER_QUEUE)]
    assert sorted(arrived, key=str) == sorted([*range(20), None, None], key=str)

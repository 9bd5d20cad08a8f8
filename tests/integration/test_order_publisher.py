"""OrderPublisher against a real broker, a cut line included."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

import aio_pika
import pytest

from infra.rabbitmq.order_publisher import OrderPublisher
from infra.rabbitmq.topology import ORDERS_EXCHANGE, WORK_QUEUE, Topology
from tests.conftest import Broker
from tests.support.messages import channel_of, take_all
from tests.support.proxy import proxy_to_broker
from tests.support.system import eventually
from worker.domain.errors import BrokerUnavailableError, MalformedOrderError, PublishError, UnroutableError
from worker.domain.order import parse_order

T = TypeVar("T")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def amqp_url(broker: Broker) -> str:
    """A virtual host with the topology declared."""
    await Topology().ensure(broker.amqp_url)
    return broker.amqp_url


async def test_an_order_arrives_as_the_contract_says(amqp_url: str) -> None:
    async with OrderPublisher(amqp_url) as publisher:
        published = await publisher.publish(order_id="A-1", destination="Ørsta", extra={"weight_kg": 2.5})
    (message,) = await take_all(amqp_url)
    assert message.body == '{"order_id":"A-1","destination":"Ørsta","weight_kg":2.5}'.encode()
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/json"
    assert message.message_id == published.message_id
    assert message.routing_key == "order.placed"
    assert message.timestamp is not None
    headers = {name: value for name, value in message.headers.items() if not name.startswith("x-")}  # the broker's own
    published_at = headers.pop("published_at")
    assert isinstance(published_at, int)
    assert abs(published_at / 1000 - time.time()) < 60
    assert headers == {"trace_id": published.trace_id, "traceparent": published.traceparent}
    assert published.order_id == "A-1"


async def test_a_body_is_carried_byte_for_byte(amqp_url: str) -> None:
    body = b' {"z": [1.50, 1e3],\t"order_id" :"A-1","destination":"\\u00d8rsta"}\r\n'
    async with OrderPublisher(amqp_url) as publisher:
        await publisher.publish_body(body)
    (message,) = await take_all(amqp_url)
    assert message.body == body


async def test_the_same_order_published_again_keeps_its_trace_and_gets_another_message_id(amqp_url: str) -> None:
    async with OrderPublisher(amqp_url) as publisher:
        first = await publisher.publish(order_id="A-1", destination="Oslo")
        second = await publisher.publish(order_id="A-1", destination="Oslo")
    assert (first.trace_id, first.traceparent) == (second.trace_id, second.traceparent)
    assert first.message_id != second.message_id


async def test_a_given_trace_is_continued(amqp_url: str) -> None:
    async with OrderPublisher(amqp_url) as publisher:
        both = await publisher.publish(order_id="1", destination="x", trace_id="shop/1", traceparent=TRACEPARENT)
        parent_only = await publisher.publish(order_id="2", destination="x", traceparent=TRACEPARENT)
        id_only = await publisher.publish(order_id="3", destination="x", trace_id=TRACEPARENT.split("-")[1])
    assert (both.trace_id, both.traceparent) == ("shop/1", TRACEPARENT)
    assert (parent_only.trace_id, parent_only.traceparent) == (TRACEPARENT.split("-")[1], TRACEPARENT)
    assert id_only.traceparent.split("-")[1] == TRACEPARENT.split("-")[1]


@pytest.mark.parametrize(
    "trace",
    [
        {"trace_id": ""},
        {"trace_id": "x" * 129},
        {"trace_id": "a\nb"},
        {"traceparent": "nonsense"},
        {"traceparent": "00-" + "0" * 32 + "-" + "1" * 16 + "-01"},
    ],
)
async def test_a_trace_that_is_none_is_the_callers_mistake(amqp_url: str, trace: dict[str, str]) -> None:
    async with OrderPublisher(amqp_url) as publisher:
        with pytest.raises(ValueError, match="trace"):
            await publisher.publish_body(b'{"order_id": "A-1", "destination": "Oslo"}', **trace)


async def test_what_no_worker_would_accept_is_refused_before_it_is_sent(amqp_url: str) -> None:
    async with OrderPublisher(amqp_url, max_body_bytes=1000) as publisher:
        for body in (b"", b"[]", b"{}", b"\xff", b'{"order_id": "1", "destination": 7}'):
            with pytest.raises(MalformedOrderError):
                await publisher.publish_body(body)
        for extra in ({"x": "y" * 1000}, {"x": float("nan")}, {"x": object()}, {"order_id": "2"}, {"x": "\ud800"}):
            with pytest.raises(MalformedOrderError):
                await publisher.publish(order_id="A-1", destination="Oslo", extra=extra)
    assert await take_all(amqp_url) == []


async def test_without_the_queues_it_says_at_once_how_to_make_them(broker: Broker) -> None:
    async with OrderPublisher(broker.amqp_url) as publisher:
        with pytest.raises(UnroutableError, match="run 'logistics topology declare' or start a worker"):
            await within(10, publisher.publish(order_id="A-1", destination="Oslo"))
        many = (publisher.publish(order_id=str(number), destination="Oslo") for number in range(50))
        failed = await within(10, asyncio.gather(*many, return_exceptions=True))
        assert {type(error) for error in failed} == {UnroutableError}
        await Topology().ensure(broker.amqp_url)
        await publisher.publish(order_id="A-1", destination="Oslo")
    assert len(await take_all(broker.amqp_url)) == 1


async def test_without_a_queue_behind_the_exchange_it_says_at_once_how_to_make_it(amqp_url: str) -> None:
    async with channel_of(amqp_url) as channel:
        await channel.queue_delete(WORK_QUEUE)
    async with OrderPublisher(amqp_url) as publisher:
        with pytest.raises(UnroutableError, match=r"no queue is bound .* run 'logistics topology declare'"):
            await within(10, publisher.publish(order_id="A-1", destination="Oslo"))


async def test_a_wrong_password_is_said_at_once(amqp_url: str) -> None:
    user, _, rest = amqp_url.removeprefix("amqp://").partition(":")
    wrong = f"amqp://{user}:wrong@{rest.partition('@')[2]}"
    async with OrderPublisher(wrong) as publisher:
        with pytest.raises(BrokerUnavailableError, match="refuses the user, password"):
            await within(10, publisher.publish(order_id="A-1", destination="Oslo"))


async def test_a_missing_vhost_is_named(amqp_url: str) -> None:
    async with OrderPublisher(amqp_url + "-missing", give_up_after=0.5) as publisher:
        with pytest.raises(BrokerUnavailableError, match=r"vhost of LOGISTICS_AMQP_URL.*not confirmed within 0.5 s"):
            await within(10, publisher.publish(order_id="A-1", destination="Oslo"))


async def test_connections_cut_again_and_again_lose_no_order(amqp_url: str) -> None:
    told: list[PublishError] = []
    async with proxy_to_broker(amqp_url) as proxy, OrderPublisher(proxy.url, on_outage=told.append) as publisher:
        orders = asyncio.create_task(publish_many(publisher, 2000, at_once=100))
        for _ in range(4):
            await asyncio.sleep(0.3)
            await proxy.cut()
        await within(60, orders)
    arrived = {parse_order(message.body).order_id for message in await take_all(amqp_url)}
    assert arrived == {str(number) for number in range(2000)}
    assert told


async def test_a_broker_that_comes_back_in_time_gets_the_order_and_the_outage_is_told_once(amqp_url: str) -> None:
    told: list[PublishError] = []
    async with (
        proxy_to_broker(amqp_url, listening=False) as proxy,
        OrderPublisher(proxy.url, on_outage=told.append) as publisher,
    ):
        orders = asyncio.create_task(publish_many(publisher, 100, at_once=100))
        await eventually(lambda: told)
        await asyncio.sleep(0.5)
        await proxy.listen()
        await within(20, orders)
    assert len(await take_all(amqp_url)) == 100
    assert len(told) == 1


async def test_a_broker_that_stays_away_is_given_up_after_the_time_for_all_who_wait(amqp_url: str) -> None:
    async with (
        proxy_to_broker(amqp_url, listening=False) as proxy,
        OrderPublisher(proxy.url, give_up_after=1.0) as publisher,
    ):
        began = time.monotonic()
        many = (publisher.publish(order_id=str(number), destination="Oslo") for number in range(200))
        failed = await within(20, asyncio.gather(*many, return_exceptions=True))
    assert 1.0 <= time.monotonic() - began < 10.0
    assert {type(error) for error in failed} == {BrokerUnavailableError}
    assert "not confirmed within 1 s" in str(failed[0])


async def test_a_broker_that_falls_silent_is_given_up_after_the_time(amqp_url: str) -> None:
    async with proxy_to_broker(amqp_url) as proxy, OrderPublisher(proxy.url, give_up_after=1.0) as publisher:
        await publisher.publish(order_id="A-1", destination="Oslo")
        proxy.hold()
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match=r"does not answer .* not confirmed within 1 s"):
            await within(20, publisher.publish(order_id="A-2", destination="Oslo"))
        assert time.monotonic() - began < 10.0
        await proxy.cut()
        await within(20, publisher.publish(order_id="A-3", destination="Oslo"))


async def test_a_full_queue_is_waited_for_and_then_given_up(amqp_url: str) -> None:
    async with channel_of(amqp_url) as channel, OrderPublisher(amqp_url, give_up_after=1.0) as publisher:
        queue = await channel.declare_queue(
            "full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await queue.bind(ORDERS_EXCHANGE, "order.#")
        await publisher.publish(order_id="A-1", destination="Oslo")
        with pytest.raises(PublishError, match="is full; not confirmed within 1 s") as caught:
            await publisher.publish(order_id="A-2", destination="Oslo")
        assert not isinstance(caught.value, BrokerUnavailableError)
        waiting = asyncio.create_task(publisher.publish(order_id="A-3", destination="Oslo"))
        await asyncio.sleep(0.2)
        await queue.purge()
        await waiting


async def publish_many(publisher: OrderPublisher, count: int, *, at_once: int) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await publisher.publish(order_id=str(number), destination="Oslo")

    await asyncio.gather(*(some() for _ in range(at_once)))


async def within(seconds: float, work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, seconds)

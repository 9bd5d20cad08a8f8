"""The feed against real servers: orders flow, servers go and come back, many watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.command import run
from tests.support.proxy import proxy_to_broker, proxy_to_store
from tests.support.system import System
from worker.feed import LivePicture, OverviewFeed, open_feed
from worker.settings import load_settings


@asynccontextmanager
async def feed_of(system: System, *, keeps_history: bool = False, **changes: str) -> AsyncIterator[OverviewFeed]:
    async with open_feed(load_settings(system.environment(**changes)), keeps_history=keeps_history) as feed:
        yield feed


async def seen(feed: OverviewFeed, condition: Callable[[LivePicture], object], *, within: float = 20.0) -> LivePicture:
    """The first picture of which that is true."""
    picture = feed.latest()
    async with asyncio.timeout(within):
        while not condition(picture):
            picture = await feed.next(after=picture.number)
    return picture


async def test_orders_are_seen_flowing_within_seconds_and_their_times_are_told(system: System) -> None:
    await system.start_worker()
    system.supplier.change(latency=0.1)
    async with feed_of(system) as feed:
        await seen(feed, lambda picture: picture.rates.published == 0)
        for number in range(60):
            await system.publish_order(f"o-{number}")
            await asyncio.sleep(0.05)
        picture = await seen(feed, lambda picture: (picture.rates.shipped or 0) > 2, within=6)
        assert (picture.rates.published or 0) > 2
        assert picture.rates.to_shipped_p50 is None, "nobody said when they were published"
        picture = await seen(feed, lambda picture: (picture.overview.shipments or {}).get("SHIPPED") == 60)
        assert picture.problems == []
        assert (picture.rates.failed, picture.rates.retried) == (0, 0)


async def test_an_order_s_time_from_publish_to_shipped_is_known_to_the_millisecond(system: System) -> None:
    await system.start_worker()
    system.supplier.change(latency=0.4)
    async with feed_of(system) as feed:
        ran = await run(system.environment(), "publish", "--order-id", "o-1", "--destination", "Oslo")
        assert ran.code == 0, ran
        picture = await seen(feed, lambda picture: picture.rates.to_shipped_p50 is not None)
        assert 0.3 < (picture.rates.to_shipped_p50 or 0) < 0.99


@pytest.mark.parametrize("server", ["RabbitMQ", "MongoDB"])
async def test_a_server_that_goes_away_leaves_what_was_last_known_and_comes_back(system: System, server: str) -> None:
    await system.start_worker("--consumers", "dead-letters")
    for number in range(3):
        await system.publish_order(f"o-{number}")
    async with proxy_to_broker(system.amqp_url) as broker, proxy_to_store(system.mongodb_uri) as store:
        proxy = {"RabbitMQ": broker, "MongoDB": store}[server]
        async with feed_of(
            system,
            LOGISTICS_AMQP_URL=broker.url,
            LOGISTICS_MONGODB_URI=store.url,
            LOGISTICS_STORE_TIMEOUT="1s",
        ) as feed:
            before = await seen(feed, lambda picture: picture.overview.queues[0].ready == 3 and not picture.last_known)
            assert before.overview.workers
            proxy.refuse()
            await proxy.cut()
            picture = await seen(feed, lambda picture: picture.last_known)
            assert list(picture.last_known) == [server]
            told = picture.problems[0].sentence(now=picture.taken_at)
            assert told.startswith(f"{server} not reachable since ")
            assert "showing what was last known" in told
            assert picture.overview.queues[0].ready == 3
            assert [worker.name for worker in picture.overview.workers or ()] == [
                worker.name for worker in before.overview.workers
            ]
            await proxy.listen()
            await seen(feed, lambda picture: not picture.last_known, within=30)


async def test_thirty_watchers_cost_the_broker_one_connection_and_a_silent_store_holds_up_no_queue(
    system: System,
) -> None:
    await system.start_worker("--consumers", "dead-letters")
    async with (
        proxy_to_broker(system.amqp_url) as broker,
        proxy_to_store(system.mongodb_uri) as store,
        feed_of(system, LOGISTICS_AMQP_URL=broker.url, LOGISTICS_MONGODB_URI=store.url) as feed,
    ):
        first = await seen(feed, lambda picture: not picture.last_known)
        pictures = await asyncio.gather(*(feed.next(after=first.number) for _ in range(30)))
        assert {picture.number for picture in pictures} == {first.number + 1}
        assert len(broker.connections()) == 1
        store.hold()
        await system.publish_order("o-1")
        await seen(feed, lambda picture: picture.overview.queues[0].ready == 1, within=4)
        await seen(feed, lambda picture: "MongoDB" in picture.last_known, within=10)

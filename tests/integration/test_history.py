"""The history in a real store: one sample a period, from workers as processes, and there after everything restarted."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from infra.local.mongod import PrivateMongod
from infra.mongodb.samples import MongoSamples
from infra.mongodb.shipments import COUNT_BY_STATUS
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.contract.test_samples_contract import a_sample
from tests.integration.test_feed import feed_of
from tests.integration.test_scale import stages_of
from tests.support.system import System, eventually
from worker.history import HistoryReader

ORDERS = 25


async def test_two_workers_and_two_consoles_make_one_sample_a_period_and_what_was_shipped_is_in_it_once(
    system: System,
) -> None:
    workers = [await system.start_worker(), await system.start_worker()]
    async with feed_of(system, keeps_history=True), feed_of(system, keeps_history=True):
        for number in range(ORDERS):
            await system.publish_order(f"o-{number}")
        await system.publish(b"no order")
        await system.shipped(*(f"o-{number}" for number in range(ORDERS)))
        everything = (ORDERS, 1)
        await eventually(
            lambda: (counted(system, "shipped"), counted(system, "failed")) == everything, timeout=30, every=0.5
        )
        assert await asyncio.gather(*(worker.terminate() for worker in workers)) == [0, 0]
    ends = [sample["_id"] for sample in samples(system)]
    assert len(ends) == len(set(ends))
    assert {end.timestamp() % 10 for end in ends} == {0}

    async with feed_of(system) as feed:
        history = await feed.history(hours=1)
    shipped = [rate for rate in history.lines["shipped"] if rate is not None]
    assert sum(rate > 0 for rate in shipped) >= 1
    assert max(known for known in history.lines["workers"] if known is not None) == 2


async def test_the_history_is_there_after_the_store_was_killed(tmp_path: Path) -> None:
    server = PrivateMongod(tmp_path / "mongod")
    server.start()
    try:
        await keep(server.mongodb_uri)
        server.kill()
        server.start()
        store = MongoStore(server.mongodb_uri)
        history = await HistoryReader(MongoSamples(store)).read(hours=1)
        await store.close()
    finally:
        server.kill()
    assert [rate for rate in history.lines["shipped"] if rate is not None] == [4.2]


async def keep(uri: str) -> None:
    """Store a sample of a minute ago."""
    store = MongoStore(uri)
    at = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 10 * 10 - 60, UTC)
    samples = MongoSamples(store)
    assert await samples.claim(at, keep_until=at + timedelta(days=1))
    await samples.fill(replace(a_sample(shipped=42), at=at))
    await store.close()


async def test_shipments_are_counted_by_the_index_alone(mongo: Mongo) -> None:
    store = MongoStore(mongo.uri, database=mongo.database)
    await store.ensure_indexes("shipments")
    await store.close()
    aggregate = {"aggregate": "shipments", "pipeline": COUNT_BY_STATUS, "cursor": {}}
    with MongoClient[dict[str, Any]](mongo.uri) as client:
        client[mongo.database].shipments.insert_many(
            {"order_id": str(number), "status": "SHIPPED"} for number in range(9)
        )
        explained = client[mongo.database].command("explain", aggregate, verbosity="executionStats")
        assert list(client[mongo.database].shipments.aggregate(COUNT_BY_STATUS)) == [{"_id": "SHIPPED", "count": 9}]
    stages = set(stages_of(explained))
    assert "IXSCAN" in stages
    assert not stages & {"COLLSCAN", "FETCH"}


def samples(system: System) -> list[dict[str, Any]]:
    return list(system.db.samples.find({"filled": True}))


def counted(system: System, name: str) -> int:
    """The sum over all samples."""
    return sum(sample["counted"][name] or 0 for sample in samples(system))

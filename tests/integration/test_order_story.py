"""Finding an order and its story, in a real store."""

from datetime import UTC, datetime, timedelta

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from worker.domain.order_story import OrderStories
from worker.domain.shipment import Shipment

NOW = datetime(2026, 11, 25, tzinfo=UTC)


async def test_an_order_is_found_by_order_id_shipment_id_and_trace_id(mongo: Mongo) -> None:
    store = MongoStore(mongo.uri, database=mongo.database)
    shipments = MongoShipments(store)
    new = Shipment.for_order("A-17", "Bergen", trace_id="trace-17", now=NOW, published_at=NOW - timedelta(seconds=1))
    shipment = await shipments.start_shipment(new)
    stories = OrderStories(dead_letters=MongoDeadLetters(store), shipments=shipments)
    assert [await stories.find(text) for text in ("A-17", shipment.id, "trace-17", "nothing")] == [["A-17"]] * 3 + [[]]
    story = await stories.of("A-17")
    assert story is not None
    assert (story.trace_id, [entry.event.event for entry in story.timeline]) == (
        "trace-17",
        ["published", "received"],
    )
    assert await stories.of("B-1") is None
    await store.close()


async def test_a_shipment_of_an_older_worker_tells_its_story_without_when_it_was_published(mongo: Mongo) -> None:
    store = MongoStore(mongo.uri, database=mongo.database)
    shipments = MongoShipments(store)
    shipment = await shipments.start_shipment(Shipment.for_order("A-18", "Bergen", trace_id="trace-18", now=NOW))
    await store.collection("shipments").update_one({"_id": shipment.id}, {"$unset": {"published_at": True}})
    story = await OrderStories(dead_letters=MongoDeadLetters(store), shipments=shipments).of("A-18")
    assert story is not None
    assert [entry.event.event for entry in story.timeline] == ["received"]
    await store.close()

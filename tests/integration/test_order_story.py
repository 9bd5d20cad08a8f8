"""Finding an order and its story, in a real store."""

from datetime import UTC, datetime

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
    shipment = await shipments.start_shipment(Shipment.for_order("A-17", "Bergen", trace_id="trace-17", now=NOW))
    stories = OrderStories(dead_letters=MongoDeadLetters(store), shipments=shipments)
    assert [await stories.find(text) for text in ("A-17", shipment.id, "trace-17", "nothing")] == [["A-17"]] * 3 + [[]]
    story = await stories.of("A-17")
    assert story is not None
    assert (story.trace_id, [entry.event.event for entry in story.timeline]) == ("trace-17", ["received"])
    assert await stories.of("B-1") is None
    store.close()

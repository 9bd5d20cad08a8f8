"""A primary that has lost its majority and does not know it yet: it reads, and takes writes that may be rolled back."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymongo import WriteConcern

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from tests.chaos.replica_set import ReplicaSet
from tests.support.fake_ports import FakeSupplier
from worker.domain.core import LogisticsCore
from worker.domain.delivery import Delivery, MessageState
from worker.domain.order import Order
from worker.domain.outcome import Ack, Defer
from worker.domain.retry import RetryPolicy
from worker.domain.shipment import Shipment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def replica_set(tmp_path: Path) -> Iterator[ReplicaSet]:
    """Of three members, whose primary takes a minute to see that it is alone."""
    three = ReplicaSet(tmp_path)
    try:
        three.start()
        three.found([f"127.0.0.1:{member.port}" for member in three.members])
        _have_it_wait_a_minute(three)
        yield three
    finally:
        three.kill()


def _have_it_wait_a_minute(replica_set: ReplicaSet) -> None:
    primary = replica_set.primary()
    assert primary is not None
    with primary.client() as client:
        config = client.admin.command("replSetGetConfig")["config"]
        config["version"] += 1
        config["settings"]["electionTimeoutMillis"] = 60_000
        client.admin.command("replSetReconfig", config)


async def test_no_supplier_is_asked_for_an_order_tried_before_while_writes_wait_for_a_majority(
    replica_set: ReplicaSet,
) -> None:
    members = ",".join(f"127.0.0.1:{member.port}" for member in replica_set.members)
    store = MongoStore(f"mongodb://{members}/?replicaSet=rs0", database="logistics", timeout=2.0)
    try:
        await store.ensure_indexes("shipments", "dead_letters")
        shipments, supplier = MongoShipments(store), FakeSupplier()
        shipment = await shipments.start_shipment(Shipment.for_order("A-1", "Oslo", trace_id="trace-1", now=NOW))
        shipment.record_failed_try(ValueError("broken"), now=NOW, attempt=1, worker="worker-1")
        await shipments.save_shipment(shipment)
        core = LogisticsCore(
            repository=shipments,
            supplier=supplier,
            dead_letters=MongoDeadLetters(store),
            policy=RetryPolicy(),
            worker_name="worker-1",
        )
        delivery = Delivery(body=b"{}", headers={"attempt": 1}, message_id="m-1", exchange="orders", routing_key="o")
        state, order = MessageState.read(delivery, order_id="A-1"), Order(order_id="A-1", destination="Oslo")

        primary = replica_set.primary()
        assert primary is not None
        others = [member for member in replica_set.members if member is not primary]
        for member in others:
            member.kill()
        with primary.client() as client:  # a write that waits for a majority, as those of other orders would
            client["logistics"].get_collection("other", write_concern=WriteConcern(w=1)).insert_one({})
        assert isinstance(await core.process_order(order, state), Defer)
        assert supplier.asked == []

        for member in others:
            member.launch()
        for member in others:
            member.wait_ready()
        assert await core.process_order(order, state) == Ack("shipped")
        assert len(supplier.dispatched) == 1
    finally:
        await store.close()

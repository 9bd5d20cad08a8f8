"""Servers that are not there yet, go away, or fall silent: the worker waits, says so, and goes on."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from infra.local.ports import LOOPBACK
from infra.rabbitmq.connection import HEARTBEAT
from tests.support.proxy import proxy_to_broker, proxy_to_store, proxy_to_supplier
from tests.support.system import System, WorkerProcess, eventually

A_FEW = 40
"""Log lines that a wait of some seconds may cost."""


async def test_a_worker_started_before_the_broker_says_so_and_works_when_it_comes(system: System) -> None:
    async with proxy_to_broker(system.amqp_url, listening=False) as proxy:
        worker = await system.start_worker(wait=False, LOGISTICS_AMQP_URL=proxy.url)
        await eventually(lambda: len(worker.events("broker.unreachable")) >= 4)
        assert "not reachable" in worker.events("broker.unreachable")[0]["error"]
        await proxy.listen()
        await eventually(lambda: len(worker.events("broker.connected")) == 3)
        await system.publish_order("o-1")
        await system.shipped("o-1")
        assert len(worker.lines()) < A_FEW
        assert await worker.terminate() == 0


async def test_a_worker_started_before_the_store_takes_nothing_and_works_when_it_comes(system: System) -> None:
    async with proxy_to_store(system.mongodb_uri, listening=False) as proxy:
        worker = await system.start_worker(wait=False, LOGISTICS_MONGODB_URI=proxy.url, LOGISTICS_STORE_TIMEOUT="500ms")
        await eventually(lambda: len(worker.events("broker.connected")) == 3)
        await system.publish_order("o-1")
        await eventually(lambda: worker.events("store.unreachable"))
        assert await system.depth("orders.work") == 1
        assert system.supplier.requests() == []
        await proxy.listen()
        await system.shipped("o-1")
        assert len(worker.events("store.ready")) == 1
        assert len(worker.lines()) < A_FEW
        assert deferrals(system, "o-1") == 0
        assert await worker.terminate() == 0


async def test_a_worker_started_before_the_supplier_keeps_trying_and_ships_when_it_comes(system: System) -> None:
    orders = [f"o-{number}" for number in range(5)]
    async with proxy_to_supplier(system.supplier.url, listening=False) as proxy:
        worker = await system.start_worker(LOGISTICS_SUPPLIER_URL=proxy.url, LOGISTICS_MAX_ATTEMPTS="50")
        await publish(system, orders)
        await eventually(lambda: len(worker.events("circuit.open")) >= 2)
        assert "no connection" in worker.events("circuit.open")[0]["why"]
        await proxy.listen()
        await system.shipped(*orders)
        assert len(worker.lines()) < A_FEW
        assert system.supplier.stats()["requests"] == len(orders)
        assert system.letters() == []
        assert await worker.terminate() == 0
    await nothing_is_left(system)


async def test_a_store_that_goes_away_for_three_seconds_costs_no_order_and_no_try(system: System) -> None:
    orders = [f"o-{number}" for number in range(50)]
    system.supplier.change(latency=0.2)
    async with proxy_to_store(system.mongodb_uri) as proxy:
        worker = await system.start_worker(
            LOGISTICS_MONGODB_URI=proxy.url, LOGISTICS_STORE_TIMEOUT="1s", LOGISTICS_PREFETCH="5"
        )
        await publish(system, orders)
        await eventually(lambda: shipped(system) >= 10)
        proxy.refuse()
        await proxy.cut()
        await eventually(lambda: worker.events("intake.paused"))
        await asyncio.sleep(3)
        assert await system.depth("orders.work") > 0, "what cannot be stored is left in the queue"
        await proxy.listen()
        await system.shipped(*orders, timeout=30)
        assert await worker.terminate() == 0
    assert system.letters() == []
    assert {shipment["retry_count"] for shipment in system.db.shipments.find()} == {0}
    dispatched_once(system, len(orders))
    assert len(worker.events("store.ready")) == 2
    await nothing_is_left(system)


async def test_a_broker_connection_cut_among_200_orders_costs_none_and_dispatches_none_twice(system: System) -> None:
    orders = [f"o-{number}" for number in range(200)]
    # Some fail first, so that the publishing connection is used before and after each cut.
    system.supplier.change(latency=0.1, rules=[{"match": "o-*5", "fail_first": 1, "latency": 0.1}])
    async with proxy_to_broker(system.amqp_url) as proxy:
        worker = await system.start_worker(
            LOGISTICS_AMQP_URL=proxy.url, LOGISTICS_PREFETCH="10", LOGISTICS_BREAKER_FAILURE_THRESHOLD="50"
        )
        await publish(system, orders)
        for part in (40, 100):
            await eventually(lambda part=part: shipped(system) >= part)
            await proxy.cut()
        assert shipped(system) < len(orders)
        await system.shipped(*orders, timeout=30)
        await eventually(lambda: is_empty(system, "orders.work"))
        assert await worker.terminate() == 0
    assert system.letters() == []
    dispatched_once(system, len(orders))
    await nothing_is_left(system)


async def test_connections_that_fall_silent_are_noticed_by_their_heartbeats_and_replaced(system: System) -> None:
    orders = [f"o-{number}" for number in range(10)]
    system.supplier.change(rules=[{"match": "o-*", "fail_first": 1}])  # each has to be published again
    system.settings["LOGISTICS_BREAKER_FAILURE_THRESHOLD"] = "50"
    async with proxy_to_broker(system.amqp_url) as to_one, proxy_to_broker(system.amqp_url) as to_other:
        cannot_publish = await system.start_worker(LOGISTICS_AMQP_URL=to_other.url)
        await publish(system, orders[:2])
        await system.shipped(*orders[:2])  # by way of the publishing connection, which is open from now on
        wholly_deaf = await system.start_worker(LOGISTICS_AMQP_URL=to_one.url)
        to_one.hold()
        to_other.hold(b" publish")
        await publish(system, orders[2:])  # some go to the one, some to the other

        await eventually(lambda: len(wholly_deaf.events("broker.unreachable")) >= 2, timeout=4.5 * HEARTBEAT)
        await system.shipped(*orders, timeout=40)
        assert any("fell silent" in line["error"] for line in cannot_publish.events("settlement.held"))
        assert cannot_publish.events("broker.unreachable") == []
        before = datetime.now(UTC)
        await eventually(lambda: sum(seen_at > before for seen_at in last_reports(system)) == 2)
        for worker in (wholly_deaf, cannot_publish):
            assert await worker.terminate() == 0
    assert system.letters() == []
    dispatched_once(system, len(orders))
    await nothing_is_left(system)


async def test_a_deleted_queue_is_declared_again_and_consumed(system: System) -> None:
    worker = await system.start_worker()
    await system.publish_order("o-1")
    await system.shipped("o-1")
    await system.channel.queue_delete("orders.work")
    await eventually(lambda: len(connected(worker, "orders.work")) == 2)
    await system.publish_order("o-2")
    await system.shipped("o-2")
    assert await worker.terminate() == 0
    dispatched_once(system, 2)


async def publish(system: System, orders: Sequence[str]) -> None:
    await asyncio.gather(*(system.publish_order(order) for order in orders))


async def is_empty(system: System, queue: str) -> bool:
    return await system.depth(queue) == 0


async def nothing_is_left(system: System) -> None:
    """With no worker running, nothing is in any queue."""
    delays = system.settings["LOGISTICS_RETRY_DELAYS"].split(",")
    for queue in (*(f"orders.retry.{delay}" for delay in delays), "orders.work", "orders.dlq"):
        assert await system.depth(queue) == 0, queue


def shipped(system: System) -> int:
    return system.db.shipments.count_documents({"status": "SHIPPED"})


def dispatched_once(system: System, orders: int) -> None:
    """One shipment, one key and one dispatch for each order."""
    stats = system.supplier.stats()
    assert system.db.shipments.count_documents({}) == orders
    assert stats["distinct_idempotency_keys"] == stats["dispatches"] == orders
    assert stats["double_dispatches"] == 0


def deferrals(system: System, order_id: str) -> int:
    shipment = system.shipment(order_id)
    assert shipment is not None
    return sum(event["event"] == "deferred" for event in shipment["history"])


def connected(worker: WorkerProcess, queue: str) -> list[dict[str, object]]:
    return [line for line in worker.events("broker.connected") if line["queue"] == queue]


def last_reports(system: System) -> list[datetime]:
    """When each worker said last that it is there."""
    return [report["seen_at"] for report in system.db.workers.find({"stopped": {"$ne": True}})]


async def test_a_worker_ends_in_good_order_while_the_broker_is_silent(system: System) -> None:
    async with proxy_to_broker(system.amqp_url) as proxy:
        worker = await system.start_worker(LOGISTICS_AMQP_URL=proxy.url)
        proxy.hold()
        assert await worker.terminate(timeout=25) == 0
        assert "Traceback" not in worker.log.read_text()


async def test_of_several_nodes_the_one_that_answers_is_taken(system: System) -> None:
    async with proxy_to_broker(system.amqp_url, listening=False) as away, proxy_to_broker(system.amqp_url) as there:
        nodes = there.url.replace(f"@{LOOPBACK}:{there.port}", f"@{LOOPBACK}:{away.port},{LOOPBACK}:{there.port}")
        worker = await system.start_worker(LOGISTICS_AMQP_URL=nodes)
        await system.publish_order("o-1")
        await system.shipped("o-1")
        await away.listen()
        there.refuse()
        await there.cut()
        # In the name: every connection says "consumer_cancel_notify" when it greets the broker.
        await eventually(lambda: len(away.connections(b" consume ")) == 3)
        await system.publish_order("o-2")
        await system.shipped("o-2")
        assert await worker.terminate() == 0

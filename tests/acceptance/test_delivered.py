"""Delivery notices, with real servers and real workers: a shipped order becomes DELIVERED, once, whatever happens."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest

from tests.support.command import replay_everything, run
from tests.support.proxy import Proxy, contains, is_ack, proxy_to_broker, proxy_to_store
from tests.support.system import System, eventually
from worker.domain.shipment import shipment_id_for

ORDER = "order-17"
ARRIVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HANDLING = b"consume shipments.delivered"
QUEUE = "shipments.delivered"
DELAYS = ("200ms", "500ms", "1s")


@pytest.fixture
async def to_broker(system: System) -> AsyncIterator[Proxy]:
    async with proxy_to_broker(system.amqp_url) as proxy:
        yield proxy


@pytest.fixture
async def to_store(system: System) -> AsyncIterator[Proxy]:
    async with proxy_to_store(system.mongodb_uri) as proxy:
        yield proxy


async def notify(system: System, notice: bytes | dict[str, Any] | None = None, **properties: Any) -> None:
    """Publish a notice as a supplier would; of `ORDER`, when no other is given."""
    fields: dict[str, Any] | bytes = notice or {"order_id": ORDER}
    body = fields if isinstance(fields, bytes) else json.dumps({"delivered_at": ARRIVED.isoformat(), **fields}).encode()
    properties.setdefault("message_id", uuid.uuid4().hex)
    exchange = await system.channel.get_exchange("shipments", ensure=False)
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
    await exchange.publish(message, "shipment.delivered", mandatory=True, timeout=10)


async def delivered(system: System, *order_ids: str) -> None:
    await eventually(lambda: all(system.status(order_id) == "DELIVERED" for order_id in order_ids))


async def nothing_waits(system: System) -> None:
    """Return when no message is left in any queue and no worker holds one."""
    for queue in (QUEUE, *(f"shipments.retry.{delay}" for delay in DELAYS), "orders.work", "orders.dlq"):
        await eventually(lambda queue=queue: _is_empty(system, queue))


async def _is_empty(system: System, queue: str) -> bool:
    return await system.depth(queue) == 0


def history(system: System, order_id: str = ORDER) -> list[str]:
    shipment = system.shipment(order_id)
    assert shipment is not None
    return [event["event"] for event in shipment["history"]]


def states(system: System) -> list[str]:
    return [letter["state"] for letter in system.letters()]


@pytest.mark.parametrize("named", ["order_id", "shipment_id", "both"])
async def test_a_shipped_order_is_delivered(system: System, named: str) -> None:
    worker = await system.start_worker()
    await system.publish_order(ORDER, headers={"trace_id": "trace-7"})
    await system.shipped(ORDER)
    names = {"order_id": ORDER, "shipment_id": shipment_id_for(ORDER)}
    await notify(system, names if named == "both" else {named: names[named]})
    await delivered(system, ORDER)
    shipment = system.shipment(ORDER)
    assert shipment is not None
    assert shipment["delivered_at"] == ARRIVED
    assert history(system) == ["received", "shipped", "delivered"]
    await eventually(lambda: worker.events("notice.delivered"))
    [line] = worker.events("notice.delivered")
    assert (line["trace_id"], line["order_id"], line["shipment_id"]) == ("trace-7", ORDER, shipment_id_for(ORDER))
    assert await worker.terminate() == 0
    await nothing_waits(system)
    assert system.letters() == []


async def test_a_repeated_notice_and_a_repeated_order_change_nothing(system: System) -> None:
    worker = await system.start_worker()
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    await notify(system)
    await delivered(system, ORDER)
    before = system.shipment(ORDER)
    await notify(system, {"order_id": ORDER, "delivered_at": (ARRIVED + timedelta(days=1)).isoformat()})
    await notify(system)
    await system.publish_order(ORDER)
    await eventually(lambda: len(worker.events("notice.duplicate")) == 2 and worker.events("order.duplicate"))
    assert system.shipment(ORDER) == before
    assert system.supplier.stats()["dispatches"] == 1
    assert system.letters() == []


async def test_a_notice_that_overtakes_its_order_s_shipping_waits_and_comes_back(system: System) -> None:
    system.supplier.change(rules=[{"match": ORDER, "latency": 1.5}])
    worker = await system.start_worker()
    await system.publish_order(ORDER)
    await eventually(lambda: system.status(ORDER) == "PENDING")
    await notify(system)
    await delivered(system, ORDER)
    assert history(system) == ["received", "shipped", "delivered"]
    put_off = worker.events("notice.deferred")
    assert [line["delay"] for line in put_off][:2] == ["200ms", "500ms"]
    assert {line["error_type"] for line in put_off} == {"EarlyNoticeError"}
    assert await worker.terminate() == 0
    await nothing_waits(system)
    assert system.letters() == []


async def test_a_notice_that_stays_early_for_too_long_is_a_dead_letter_and_the_order_is_untouched(
    system: System,
) -> None:
    system.supplier.change(rules=[{"match": ORDER, "refuse": True}])
    await system.start_worker(LOGISTICS_MAX_AGE="1s")
    await system.publish_order(ORDER)
    await eventually(lambda: system.letters(reason="supplier_rejected"))
    before = system.shipment(ORDER)
    await notify(system)
    await eventually(lambda: system.letters(reason="expired"))
    [letter] = system.letters(reason="expired")
    assert (letter["kind"], letter["state"], letter["order_id"]) == ("delivered", "open", ORDER)
    assert len(letter["attempts"]) == 1
    assert system.shipment(ORDER) == before

    system.supplier.change(rules=[])
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    await eventually(lambda: system.letters(state="resolved", reason="supplier_rejected"))
    assert [letter["state"] for letter in system.letters(kind="delivered")] == ["open"]
    await replay_everything(system.environment())
    await delivered(system, ORDER)
    await eventually(lambda: states(system) == ["resolved", "resolved"])


async def test_a_notice_of_an_unknown_shipment_is_a_dead_letter_that_replays(system: System) -> None:
    worker = await system.start_worker()
    await notify(system, {"shipment_id": shipment_id_for(ORDER)}, headers={"x-carrier": "north"})
    await eventually(lambda: system.letters(state="open"))
    [letter] = system.letters()
    assert (letter["kind"], letter["reason"], letter["order_id"]) == ("delivered", "unknown_shipment", None)
    assert (letter["origin_exchange"], letter["origin_routing_key"]) == ("shipments", "shipment.delivered")
    assert system.db.shipments.count_documents({}) == 0

    await replay_everything(system.environment())  # too soon
    await eventually(lambda: system.letters(state="open", replay_count=1))
    assert [event["event"] for event in system.letters()[0]["history"]] == [
        "filed",
        "replayed",
        "taken",
        "failed_again",
    ]

    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    assert states(system) == ["open"]
    await replay_everything(system.environment())
    await delivered(system, ORDER)
    await eventually(lambda: states(system) == ["resolved"])
    [replayed] = system.letters()
    assert replayed["_id"] == letter["_id"]
    assert [event["event"] for event in replayed["history"]][-3:] == ["replayed", "taken", "resolved"]
    assert await worker.terminate() == 0
    await nothing_waits(system)


@pytest.mark.parametrize("body", [b"not JSON", b'{"order_id": "order-17", "delivered_at": 1772366400}'])
async def test_a_malformed_notice_is_a_dead_letter_and_touches_nothing(system: System, body: bytes) -> None:
    await system.start_worker()
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    await notify(system, body)
    await eventually(lambda: system.letters())
    [letter] = system.letters()
    assert (letter["kind"], letter["reason"], bytes(letter["body"])) == ("delivered", "malformed", body)
    assert letter["order_id"] == (ORDER if b"order_id" in body else None)
    assert (letter["state"], history(system)) == ("open", ["received", "shipped"])


async def test_a_malformed_notice_that_is_edited_delivers(system: System) -> None:
    await system.start_worker()
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    await notify(system, json.dumps({"order_id": ORDER, "delivered_at": "soon"}).encode())
    await eventually(lambda: system.letters(state="open", reason="malformed"))
    letter = system.letters()[0]["_id"]
    change = ("--set", f"delivered_at={ARRIVED.isoformat()}", "--why", "asked the supplier", "--yes", "--wait", "20s")
    ran = await run(system.environment(), "dead-letters", "edit", letter, *change)
    assert ran.code == 0, ran
    await delivered(system, ORDER)
    assert states(system) == ["resolved"]


async def test_a_worker_without_that_consumer_leaves_the_notices_alone(system: System) -> None:
    worker = await system.start_worker("--consumers", "orders,dead-letters")
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    await notify(system)
    await eventually(lambda: system.depth(QUEUE))
    assert await worker.terminate() == 0
    other = await system.start_worker("--consumers", "delivered")
    await delivered(system, ORDER)
    assert other.events("worker.started")[0]["queues"] == [QUEUE]


async def test_an_open_circuit_keeps_no_notice_waiting(system: System) -> None:
    await system.start_worker(LOGISTICS_BREAKER_RECOVERY_TIMEOUT="1h", LOGISTICS_BREAKER_FAILURE_THRESHOLD="1")
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    system.supplier.change(outage=True)
    await system.publish_order("another")
    await eventually(lambda: system.db.workers.count_documents({"circuit": "open"}))
    await notify(system)
    await delivered(system, ORDER)


async def test_killed_between_the_store_s_write_and_the_ack_the_redelivery_is_a_duplicate(
    system: System, to_broker: Proxy
) -> None:
    await shipped_by_a_worker_that_ends(system)
    worker = await system.start_worker("--consumers", "delivered", LOGISTICS_AMQP_URL=to_broker.url)
    ack = to_broker.hold_before(is_ack, name=HANDLING)
    await notify(system)
    await ack.springs()
    before = system.shipment(ORDER)
    assert before is not None
    assert before["status"] == "DELIVERED"
    worker.kill()
    await to_broker.cut()
    await eventually(lambda: system.depth(QUEUE))
    fresh = await system.start_worker()
    await eventually(lambda: fresh.events("notice.duplicate"))
    assert await fresh.terminate() == 0
    assert fresh.events("notice.delivered") == []
    assert system.shipment(ORDER) == before
    await nothing_waits(system)
    assert system.letters() == []


async def test_killed_before_the_store_s_write_the_redelivery_delivers(system: System, to_store: Proxy) -> None:
    await shipped_by_a_worker_that_ends(system)
    worker = await system.start_worker(
        "--consumers", "delivered", LOGISTICS_MONGODB_URI=to_store.url, LOGISTICS_STORE_TIMEOUT="30s"
    )
    write = to_store.hold_before(contains(b"DELIVERED"))
    await notify(system)
    await write.springs()
    worker.kill()
    await to_store.cut()
    await eventually(lambda: system.depth(QUEUE))
    assert system.status(ORDER) == "SHIPPED"
    await system.start_worker()
    await delivered(system, ORDER)
    assert history(system) == ["received", "shipped", "delivered"]


async def test_killed_in_a_replay_between_delivering_and_resolving_the_letter_is_resolved_later(
    system: System, to_store: Proxy
) -> None:
    first = await system.start_worker()
    await notify(system)
    await eventually(lambda: system.letters(state="open"))
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    assert await first.terminate() == 0
    worker = await system.start_worker(
        "--consumers", "delivered,replays", LOGISTICS_MONGODB_URI=to_store.url, LOGISTICS_STORE_TIMEOUT="30s"
    )
    resolving = to_store.hold_before(contains(b"dead_letters", b"resolved"))
    await replay_everything(system.environment())
    await resolving.springs()
    worker.kill()
    await to_store.cut()
    await eventually(lambda: system.depth(QUEUE))
    assert (system.status(ORDER), states(system)) == ("DELIVERED", ["replaying"])
    fresh = await system.start_worker()
    await eventually(lambda: states(system) == ["resolved"])
    await eventually(lambda: len(fresh.events("notice.duplicate")) == 1)  # it tells after it has resolved
    assert history(system) == ["received", "shipped", "delivered"]


async def test_a_notice_the_broker_gives_up_on_is_a_notice_s_dead_letter_and_replays(system: System) -> None:
    await shipped_by_a_worker_that_ends(system)
    before = system.shipment(ORDER)
    await notify(system)
    queue = await system.channel.get_queue(QUEUE, ensure=False)
    for _ in range(21):  # the broker allows 20 redeliveries
        await eventually(lambda: system.depth(QUEUE))
        await (await queue.get(timeout=10)).reject(requeue=True)
    await eventually(lambda: system.depth("orders.dlq"))
    await system.start_worker("--consumers", "dead-letters")
    await eventually(lambda: system.letters())
    [letter] = system.letters()
    assert (letter["kind"], letter["reason"], letter["state"]) == ("delivered", "delivery_limit", "open")
    assert (letter["order_id"], system.shipment(ORDER)) == (ORDER, before)
    await system.start_worker("--consumers", "delivered,replays")
    await replay_everything(system.environment())
    await delivered(system, ORDER)
    await eventually(lambda: states(system) == ["resolved"])


async def test_a_store_that_goes_away_puts_notices_off_and_loses_none(system: System, to_store: Proxy) -> None:
    await shipped_by_a_worker_that_ends(system)
    worker = await system.start_worker(
        "--consumers", "delivered", LOGISTICS_MONGODB_URI=to_store.url, LOGISTICS_STORE_TIMEOUT="500ms"
    )
    to_store.refuse()
    await to_store.cut()
    await notify(system)
    await eventually(lambda: worker.events("intake.paused"))
    assert {line["error_type"] for line in worker.events("notice.deferred")} == {"StoreUnavailableError"}
    await to_store.listen()
    await delivered(system, ORDER)
    assert history(system) == ["received", "shipped", "delivered"]
    await nothing_waits(system)
    assert system.letters() == []


async def test_many_copies_to_two_workers_are_one_delivery_each(system: System) -> None:
    workers = [await system.start_worker() for _ in range(2)]
    orders = [f"order-{number}" for number in range(20)]
    for order_id in orders:
        await system.publish_order(order_id)
    await system.shipped(*orders)
    names = [{"order_id": order_id} for order_id in orders]
    names += [{"shipment_id": shipment_id_for(order_id)} for order_id in orders]
    await asyncio.gather(*(notify(system, named) for named in names * 5))
    await delivered(system, *orders)
    await eventually(lambda: sum(settled(worker.lines()) for worker in workers) == 10 * len(orders))
    for order_id in orders:
        assert history(system, order_id) == ["received", "shipped", "delivered"]
    assert sum(len(worker.events("notice.delivered")) for worker in workers) == len(orders)
    assert all(worker.events("notice.delivered") or worker.events("notice.duplicate") for worker in workers)
    assert system.letters() == []


def settled(lines: list[dict[str, Any]]) -> int:
    return sum(line["event"] in {"notice.delivered", "notice.duplicate"} for line in lines)


async def shipped_by_a_worker_that_ends(system: System) -> None:
    worker = await system.start_worker()
    await system.publish_order(ORDER)
    await system.shipped(ORDER)
    assert await worker.terminate() == 0

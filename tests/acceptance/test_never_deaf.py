"""The worker never sits deaf: it recovers by itself, or /livez says within 30 s that a supervisor should restart it.

Beside these: `test_servers_away.py` (a server that starts later, goes away, or falls silent) and `test_kill.py`.
"""

import asyncio
import json
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import PublishError
from pymongo import MongoClient

from infra.local.mongod import PrivateMongod
from infra.rabbitmq.topology import Topology
from tests.conftest import Broker
from tests.support.admin import BrokerAdmin
from tests.support.proxy import (
    contains,
    proxy_to_broker,
    proxy_to_store,
    proxy_to_supplier,
)
from tests.support.system import System, WorkerProcess, eventually

QUEUES = ("orders.work", "orders.dlq", "shipments.delivered")
AT_THE_LATEST = 30.0
"""Seconds after which a worker that sits deaf must say so."""
UNKNOWN_ACK = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50" + (10**9).to_bytes(8, "big") + b"\x00\xce"
"""An ack on channel 1 of a delivery there never was."""
CHANNEL_CLOSED = re.compile("the channel was closed|unknown delivery tag")
"""What the worker says of it: the second when it was just asking the broker something."""


@pytest.fixture
def admin(broker: Broker) -> BrokerAdmin:
    return BrokerAdmin(broker.amqp_url, broker.management_url)


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[PrivateMongod]:
    """A mongod of the test's own, which it may stop."""
    server = PrivateMongod(tmp_path / "mongod")
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        yield server


async def test_a_consumer_that_the_broker_cancels_comes_back_when_another_program_has_made_the_queue_again(
    system: System,
) -> None:
    worker = await system.start_worker()
    await consumed(system)
    for queue in QUEUES:
        arguments = arguments_of(queue)
        await system.channel.queue_delete(queue)
        await system.channel.declare_queue(queue, durable=True, arguments=arguments)
    await works(system, worker)


async def test_a_queue_whose_bindings_were_taken_away_is_bound_again(system: System) -> None:
    worker = await system.start_worker()
    await consumed(system)
    for queue, exchange, key in (
        ("orders.work", "orders", "order.#"),
        ("shipments.delivered", "shipments", "shipment.delivered"),
        ("orders.dlq", "orders.dead-letter", ""),
    ):
        await (await system.channel.get_queue(queue, ensure=False)).unbind(exchange, key)
    await works(system, worker, timeout=AT_THE_LATEST)
    assert len(worker.events("broker.connected")) == len(QUEUES), "for that no consumer has to leave its queue"


async def test_a_queue_deleted_while_intake_is_paused_is_consumed_afterwards(system: System) -> None:
    worker = await system.start_worker()
    system.supplier.change(failure_rate=1.0)
    await asyncio.gather(*(system.publish_order(f"o-{number}") for number in range(3)))
    await eventually(lambda: worker.events("intake.paused"))
    await system.channel.queue_delete("orders.work")
    system.supplier.change(failure_rate=0.0)
    await works(system, worker)


async def test_queues_with_drifted_arguments_are_told_within_30_s_and_consumed_when_they_are_right_again(
    system: System,
) -> None:
    worker = await system.start_worker()
    await consumed(system)
    right = arguments_of("orders.work")
    await system.channel.queue_delete("orders.work")
    await system.channel.declare_queue("orders.work", durable=True, arguments={"x-queue-type": "quorum"})
    await tells_within_30_s(worker, "orders.work")
    assert "orders.work" in worker.events("broker.differs")[0]["error"]
    assert "should be" in (await worker.health())[1]
    await system.channel.queue_delete("orders.work")
    await system.channel.declare_queue("orders.work", durable=True, arguments=right)
    await works(system, worker)


@pytest.mark.parametrize("queue", QUEUES)
async def test_a_channel_that_the_broker_closes_for_an_error_is_opened_again(system: System, queue: str) -> None:
    async with proxy_to_broker(system.amqp_url) as proxy:
        worker = await system.start_worker(LOGISTICS_AMQP_URL=proxy.url)
        await eventually(lambda: len(worker.events("broker.connected")) == len(QUEUES))
        await consumed(system)
        (connection,) = proxy.connections(f"consume {queue}".encode())
        connection.forge(UNKNOWN_ACK)
        await eventually(lambda: with_a_closed_channel(worker))
        assert with_a_closed_channel(worker)[0] == queue
        await works(system, worker)


async def test_expired_credentials_are_told_within_30_s_and_used_again_when_they_are_right(
    system: System, admin: BrokerAdmin
) -> None:
    user = f"worker-{uuid.uuid4().hex[:8]}"
    url = await admin.add_user(user, "first")
    try:
        worker = await system.start_worker(LOGISTICS_AMQP_URL=url)
        await eventually(lambda: len(worker.events("broker.connected")) == len(QUEUES))
        await admin.set_password(user, "second")
        await admin.close_connections_of(user)
        await tells_within_30_s(worker, "orders.work")
        assert "refuses the user, password" in worker.events("broker.unreachable")[-1]["error"]
        assert "refuses the user, password" in (await worker.health())[1]
        await admin.set_password(user, "first")
        await works(system, worker)
        assert "first" not in worker.log.read_text()
    finally:
        await admin.delete_user(user)


async def test_a_worker_whose_broker_is_away_stays_live_as_a_restart_would_change_nothing(system: System) -> None:
    async with proxy_to_broker(system.amqp_url) as proxy:
        worker = await system.start_worker(LOGISTICS_AMQP_URL=proxy.url)
        proxy.refuse()
        await proxy.cut()
        await eventually(lambda: len(worker.events("broker.unreachable")) >= 2 * len(QUEUES))
        assert (await worker.health())[0] == 200
        assert (await worker.health("/readyz"))[0] == 503
        await proxy.listen()
        await works(system, worker)


async def test_store_connections_that_fall_silent_pause_intake_and_are_replaced(system: System) -> None:
    async with proxy_to_store(system.mongodb_uri) as proxy:
        worker = await system.start_worker(LOGISTICS_MONGODB_URI=proxy.url, LOGISTICS_STORE_TIMEOUT="1s")
        await works(system, worker)
        proxy.hold()
        await works(system, worker, timeout=AT_THE_LATEST)
    assert system.letters(reason="attempts_exhausted") == []
    assert {shipment["retry_count"] for shipment in system.db.shipments.find()} == {0}


async def test_a_store_connection_that_falls_silent_while_indexes_are_made_is_replaced(system: System) -> None:
    async with proxy_to_store(system.mongodb_uri) as proxy:
        making = proxy.hold_before(contains(b"createIndexes", b"replay_items"))
        worker = await system.start_worker(wait=False, LOGISTICS_MONGODB_URI=proxy.url, LOGISTICS_STORE_TIMEOUT="2s")
        await making.springs()
        await eventually(lambda: len(worker.events("broker.connected")) == len(QUEUES))
        await works(system, worker, timeout=AT_THE_LATEST)


async def test_supplier_connections_that_fall_silent_are_replaced(system: System) -> None:
    async with proxy_to_supplier(system.supplier.url) as proxy:
        worker = await system.start_worker(LOGISTICS_SUPPLIER_URL=proxy.url, LOGISTICS_SUPPLIER_TIMEOUT="1s")
        await works(system, worker)
        proxy.hold()
        await works(system, worker, timeout=AT_THE_LATEST)


@pytest.mark.parametrize("lose", ["stopped", "stepped down"])
async def test_a_store_that_loses_its_primary_pauses_the_worker_and_costs_no_order(
    system: System, mongod: PrivateMongod, lose: str
) -> None:
    own = on_another_store(system, mongod.mongodb_uri)
    own.supplier.change(latency=0.2)
    orders = [f"o-{number}" for number in range(60)]
    try:
        worker = await own.start_worker(LOGISTICS_STORE_TIMEOUT="1s", LOGISTICS_PREFETCH="10")
        await asyncio.gather(*(own.publish_order(order) for order in orders))
        await eventually(lambda: own.db.shipments.count_documents({"status": "SHIPPED"}) >= 10)
        if lose == "stopped":
            mongod.processes[-1].send(signal.SIGSTOP)
        else:
            step_down(mongod.mongodb_uri, seconds=6)
        await eventually(lambda: worker.events("intake.paused"))
        await eventually(lambda: worker.events("store.unreachable"))
        assert (await worker.health())[0] == 200
        if lose == "stopped":
            mongod.processes[-1].send(signal.SIGCONT)
        await eventually(lambda: own.db.shipments.count_documents({"status": "SHIPPED"}) == len(orders), timeout=40)
        assert len(worker.events("store.ready")) >= 2
        assert own.letters() == []
        assert {shipment["retry_count"] for shipment in own.db.shipments.find()} == {0}
        assert own.supplier.stats()["double_dispatches"] == 0
        assert await worker.terminate() == 0
    finally:
        mongod.processes[-1].send(signal.SIGCONT)
        own.close()


async def test_a_blocked_event_loop_answers_no_probe_and_goes_on_when_it_is_free_again(system: System) -> None:
    worker = await system.start_worker(module="tests.support.faulty_worker")
    assert (await worker.health())[0] == 200
    await system.publish_order("blocks-5")
    await eventually(lambda: silent(worker), timeout=10)
    await works(system, worker)
    await system.shipped("blocks-5")


@pytest.mark.long
async def test_a_worker_stopped_for_longer_than_its_heartbeats_answers_no_probe_and_goes_on_afterwards(
    system: System, admin: BrokerAdmin
) -> None:
    worker = await system.start_worker()
    await works(system, worker)
    worker.process.send_signal(signal.SIGSTOP)
    assert await silent(worker)
    await system.publish_order("meanwhile")  # the broker hands it out to the deaf one

    async def given_up() -> bool:
        return (await admin.queue("orders.work")).get("consumers") == 0

    await eventually(given_up, timeout=60, every=0.5)  # the broker has missed its heartbeats
    worker.process.send_signal(signal.SIGCONT)
    await system.shipped("meanwhile", timeout=AT_THE_LATEST)
    await works(system, worker)


async def test_a_worker_started_before_all_of_its_servers_works_when_the_last_has_come(system: System) -> None:
    async with (
        proxy_to_broker(system.amqp_url, listening=False) as broker,
        proxy_to_store(system.mongodb_uri, listening=False) as store,
        proxy_to_supplier(system.supplier.url, listening=False) as supplier,
    ):
        worker = await system.start_worker(
            wait=False,
            LOGISTICS_AMQP_URL=broker.url,
            LOGISTICS_MONGODB_URI=store.url,
            LOGISTICS_SUPPLIER_URL=supplier.url,
            LOGISTICS_STORE_TIMEOUT="500ms",
            LOGISTICS_MAX_ATTEMPTS="50",
        )
        await eventually(lambda: worker.events("store.unreachable") and worker.events("broker.unreachable"))
        assert (await worker.health())[0] == 200
        await store.listen()
        await eventually(lambda: worker.events("store.ready"))
        await broker.listen()
        await eventually(lambda: len(worker.events("broker.connected")) == len(QUEUES))
        await system.publish_order("o-1")
        await eventually(lambda: worker.events("order.retry"))
        await supplier.listen()
        await system.shipped("o-1")
        await works(system, worker)
        assert len(worker.lines()) < 60, "it says once a while what it waits for, not at every try"


async def works(system: System, worker: WorkerProcess, *, timeout: float = 30.0) -> None:
    """Return when every queue is consumed: an order ships, its delivery is noted, a dead letter is filed; and live."""
    name = f"works-{uuid.uuid4().hex[:8]}"
    notice = {"order_id": name, "delivered_at": "2026-01-01T00:00:00Z"}
    async with asyncio.timeout(timeout):
        await arrives(system, "orders", "order.placed", {"order_id": name, "destination": "Oslo"})
        await system.shipped(name, timeout=timeout)
        await arrives(system, "shipments", "shipment.delivered", notice)
        await eventually(lambda: system.status(name) == "DELIVERED", timeout=timeout)
        await arrives(system, "orders.dead-letter", "", {"letter": name})
        await eventually(lambda: name in str([letter["body"] for letter in system.letters()]), timeout=timeout)
        await eventually(lambda: has_status(worker, 200), timeout=timeout)


async def arrives(system: System, exchange: str, key: str, body: object) -> None:
    """Publish until it reaches a queue: one that is being made again is not bound yet."""

    async def is_routed() -> bool:
        target = await system.channel.get_exchange(exchange, ensure=False)
        try:
            await target.publish(aio_pika.Message(json.dumps(body).encode()), key, mandatory=True, timeout=10)
        except PublishError:
            return False
        return True

    await eventually(is_routed, every=0.2)


async def tells_within_30_s(worker: WorkerProcess, queue: str) -> None:
    """Return when /livez says that the queue has no consumer; it may not take longer than a supervisor waits."""
    await eventually(lambda: has_status(worker, 503), timeout=AT_THE_LATEST, every=0.2)
    _, text = await worker.health()
    assert f"{queue}: ok" not in text


async def consumed(system: System) -> None:
    """Return when every queue has its consumer."""

    async def by_somebody(queue: str) -> bool:
        return bool((await system.channel.declare_queue(queue, passive=True)).declaration_result.consumer_count)

    for queue in QUEUES:
        await eventually(lambda queue=queue: by_somebody(queue))


async def has_status(worker: WorkerProcess, status: int) -> bool:
    return (await worker.health())[0] == status


def with_a_closed_channel(worker: WorkerProcess) -> list[str]:
    """The queues whose consumer lost its channel, in that order; not those that the start had to try again."""
    lost = worker.events("broker.unreachable")
    return [event["queue"] for event in lost if CHANNEL_CLOSED.search(event["error"])]


async def silent(worker: WorkerProcess) -> bool:
    """Whether a probe gets no answer in its time."""
    return (await worker.health(timeout=1.0))[0] == 0


def arguments_of(queue: str) -> dict[str, Any]:
    return dict(next(known.arguments for known in Topology().queues if known.name == queue))


def on_another_store(system: System, mongodb_uri: str) -> System:
    """The same broker and supplier with a store of its own."""
    return System(
        system.amqp_url, mongodb_uri, system.database, system.supplier, system.folder, system.channel, system.settings
    )


def step_down(mongodb_uri: str, *, seconds: int) -> None:
    """Have the only member of the replica set be no primary for so long."""
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client.admin.command("replSetStepDown", seconds, force=True)

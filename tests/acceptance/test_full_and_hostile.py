"""Full and hostile: queues, disks and bodies that are too full or too large, and messages that come to do harm.

The poison message that kills its worker each time is in `test_kill.py`.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import HeadersType

from infra.local.mongod import PrivateMongod
from infra.local.rabbitmq import PrivateRabbitMQ
from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.store import MongoStore
from infra.rabbitmq.order_publisher import OrderPublisher
from infra.rabbitmq.topology import Topology
from infra.supplier.simulator import SupplierSimulator
from tests.conftest import Broker, Mongo
from tests.support.admin import BrokerAdmin
from tests.support.system import System, WorkerProcess, eventually, running_system
from worker.domain.errors import MessageTooLargeError

pytestmark = pytest.mark.cold

MIB = 1024 * 1024
AT_ONCE = 500
STUFFED = 3
A_DEEP_QUEUE = 50_000
A_MILLION = 1_000_000


@pytest.fixture
def admin(broker: Broker) -> BrokerAdmin:
    return BrokerAdmin(broker.amqp_url, broker.management_url)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    """A broker whose limits these tests may change."""
    server = PrivateRabbitMQ(tmp_path_factory.mktemp("own") / "rabbitmq")
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        yield server


@pytest.fixture
async def alone(
    own_server: PrivateRabbitMQ, mongo: Mongo, supplier: SupplierSimulator, tmp_path: Path
) -> AsyncIterator[tuple[System, PrivateRabbitMQ]]:
    """A system on that broker."""
    async with running_system(
        amqp_url=own_server.add_vhost(mongo.database),
        mongodb_uri=mongo.uri,
        database=mongo.database,
        supplier=supplier,
        folder=tmp_path,
    ) as system:
        yield system, own_server


async def test_a_full_retry_queue_holds_the_order_until_there_is_room(system: System, admin: BrokerAdmin) -> None:
    system.settings.update({"LOGISTICS_RETRY_DELAYS": "1h", "LOGISTICS_BREAKER_FAILURE_THRESHOLD": "1000"})
    system.supplier.change(rules=[{"match": "fails-*", "fail_first": 1}])
    worker = await system.start_worker()
    await stuff(system, admin, "orders.retry.1h")
    failing = [f"fails-{number}" for number in range(10)]
    await publish(system, failing)
    await eventually(lambda: worker.events("settlement.held"))
    assert "is full" in worker.events("settlement.held")[0]["error"]
    await publish(system, ["good"])
    await system.shipped("good")
    assert await system.depth("orders.retry.1h") == STUFFED
    await eventually(lambda: unacknowledged(admin, "orders.work", len(failing)), timeout=30)
    await eventually(lambda: shows(worker, f'logistics_held{{queue="orders.work"}} {len(failing)}.0'))
    await admin.lift_limit("orders.retry.1h")
    await eventually(lambda: has_depth(system, "orders.retry.1h", STUFFED + len(failing)), timeout=30)
    await eventually(lambda: shows(worker, 'logistics_held{queue="orders.work"} 0.0'))
    assert await worker.terminate() == 0
    assert await system.depth("orders.work") == 0
    assert system.letters() == []


async def test_a_full_dead_letter_queue_holds_what_must_go_there_until_there_is_room(
    system: System, admin: BrokerAdmin
) -> None:
    worker = await system.start_worker("--consumers", "orders")
    await stuff(system, admin, "orders.dlq")
    for number in range(10):
        await system.publish(b"no order %d" % number)
    await eventually(lambda: worker.events("settlement.held"))
    await publish(system, ["good"])
    await system.shipped("good")
    assert await system.depth("orders.dlq") == STUFFED
    await eventually(lambda: unacknowledged(admin, "orders.work", 10), timeout=30)
    filing = await system.start_worker("--consumers", "dead-letters")  # which makes the room
    await eventually(lambda: len(system.letters(reason="malformed")) == 10, timeout=40)
    for one in (worker, filing):
        assert await one.terminate() == 0
    assert await system.depth("orders.work") == await system.depth("orders.dlq") == 0


async def test_a_disk_alarm_at_the_broker_holds_what_must_be_published_and_stops_nothing_else(
    alone: tuple[System, PrivateRabbitMQ],
) -> None:
    system, broker = alone
    system.supplier.change(rules=[{"match": "fails-*", "fail_first": 1}, {"match": "refused-*", "refuse": True}])
    system.settings["LOGISTICS_BREAKER_FAILURE_THRESHOLD"] = "1000"
    orders = [f"{kind}-{number}" for number in range(10) for kind in ("good", "fails", "refused")]
    prepared = await system.start_worker()
    assert await prepared.terminate() == 0
    await publish(system, orders)
    await asyncio.to_thread(broker.ctl, "set_disk_free_limit", "900000GB")
    worker = await system.start_worker()
    await system.shipped(*(order for order in orders if order.startswith("good")))  # an ack is no publish
    assert (await worker.health())[0] == 200
    await eventually(lambda: shipped_or_failed(system) == len(orders))
    assert await system.depth("orders.dlq") == 0
    assert system.letters() == []
    await asyncio.to_thread(broker.ctl, "set_disk_free_limit", "64MB")
    await system.shipped(*(order for order in orders if not order.startswith("refused")), timeout=60)
    await eventually(lambda: len(system.letters(reason="supplier_rejected")) == 10, timeout=60)
    await eventually(lambda: has_depth(system, "orders.work", 0))
    assert await worker.terminate() == 0
    assert len(system.letters()) == 10
    assert system.supplier.stats()["double_dispatches"] == 0


async def test_a_dead_letter_too_large_for_the_broker_by_now_is_filed_all_the_same(
    alone: tuple[System, PrivateRabbitMQ],
) -> None:
    """As after an upgrade from RabbitMQ 3, which takes messages of 128 MiB, to 4, which takes 16."""
    system, broker = alone
    system.supplier.change(rules=[{"match": "fails-*", "fail_first": 2}])
    system.settings["LOGISTICS_BREAKER_FAILURE_THRESHOLD"] = "1000"
    prepared = await system.start_worker()
    assert await prepared.terminate() == 0
    large, orders = filled_order(1, 2 * MIB), [f"fails-{number}" for number in range(20)]
    await publish(system, orders[:10])
    await system.publish(large)
    await publish(system, orders[10:])
    with max_message_size(broker, MIB):
        worker = await system.start_worker()
        await eventually(lambda: system.letters())
        await system.shipped(*orders)
        assert worker.events("settlement.rejected")
        assert await worker.terminate() == 0
    await eventually(lambda: has_depth(system, "orders.work", 0))
    (letter,) = system.letters()
    assert (letter["reason"], letter["error_type"], letter["state"]) == ("unknown", "MessageRejected", "open")
    assert (letter["origin_exchange"], letter["origin_routing_key"]) == ("orders", "order.placed")
    assert bytes(letter["body"]) == large
    assert system.supplier.stats()["double_dispatches"] == 0


async def test_an_order_too_large_for_the_broker_is_told_at_once(alone: tuple[System, PrivateRabbitMQ]) -> None:
    system, broker = alone
    await Topology().ensure(system.amqp_url)
    with max_message_size(broker, MIB):
        async with OrderPublisher(system.amqp_url, max_body_bytes=4 * MIB, give_up_after=20) as publisher:
            with pytest.raises(MessageTooLargeError, match="max_message_size is 1048576"):
                await publisher.publish(order_id="large", destination="Oslo", extra={"note": "x" * 2 * MIB})
            await publisher.publish(order_id="small", destination="Oslo")
    await eventually(lambda: has_depth(system, "orders.work", 1))


async def test_a_disk_full_under_mongod_loses_no_order_and_makes_no_dead_letter(system: System, tmp_path: Path) -> None:
    mongod = PrivateMongod(tmp_path / "mongod")
    with tiny_disk(mongod.data_dir, megabytes=96), ExitStack() as stack:
        stack.callback(mongod.kill)
        await asyncio.to_thread(mongod.start)
        own = System(
            system.amqp_url, mongod.mongodb_uri, system.database, system.supplier, tmp_path, system.channel,
            {**system.settings, "LOGISTICS_STORE_TIMEOUT": "1s", "LOGISTICS_SUPPLIER_TIMEOUT": "20s"},
        )  # fmt: skip
        stack.callback(own.close)
        worker = await own.start_worker()
        await publish(own, ["before"])
        await own.shipped("before")
        fill_disk(mongod.data_dir)
        orders: list[str] = []
        while mongod.is_running or len(orders) < 500:  # it gives up when it cannot write what it must
            more = [f"o-{len(orders) + number}" for number in range(100)]
            await publish(own, more)
            orders += more
        await eventually(lambda: worker.events("intake.paused"))
        await eventually(lambda: worker.events("store.unreachable"))
        assert (await worker.health())[0] == 200
        (mongod.data_dir / "filler").unlink()
        await asyncio.to_thread(mongod.start)
        await eventually(lambda: shipped(own) == 1 + len(orders), timeout=60)
        assert own.letters() == []
        assert {shipment["retry_count"] for shipment in own.db.shipments.find()} == {0}
        assert await worker.terminate() == 0
        assert own.supplier.stats()["double_dispatches"] == 0


async def test_fifty_thousand_waiting_orders_change_neither_memory_nor_speed(system: System) -> None:
    await drain_deep_queue(system, depth=A_DEEP_QUEUE, observed=5_000)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_million_waiting_orders_change_neither_memory_nor_speed(system: System) -> None:
    await drain_deep_queue(system, depth=A_MILLION, observed=100_000)


async def test_orders_of_16_mb_are_filed_byte_for_byte_in_bounded_memory_while_others_ship(system: System) -> None:
    large = [filled_order(number, 16 * MIB - 1024) for number in range(32)]
    worker = await system.start_worker(wait=False)
    await eventually(lambda: worker.events("store.ready"))
    before = worker.resident_mb
    for number, body in enumerate(large):
        await system.publish(body)
        await system.publish_order(f"neighbour-{number}")
    await system.shipped(*(f"neighbour-{number}" for number in range(len(large))), timeout=60)
    await eventually(lambda: system.db.dead_letters.count_documents({"reason": "malformed"}) == len(large), timeout=90)
    store = MongoStore(system.mongodb_uri, database=system.database)
    try:
        letters = MongoDeadLetters(store)
        filed = [await letters.get(letter["_id"]) for letter in system.db.dead_letters.find({}, {"_id": True})]
    finally:
        await store.close()
    assert sorted(letter.body for letter in filed if letter is not None) == sorted(large)
    print(f"memory: {before:.0f} MiB before, {worker.most_resident_mb:.0f} MiB at the most")  # noqa: T201 - the figure
    assert worker.most_resident_mb < 640, "all of them in hand at once were far more"
    assert await worker.terminate() == 0


async def test_ten_thousand_dead_letters_at_once_are_all_filed_while_orders_ship(system: System) -> None:
    worker = await system.start_worker()
    exchange = await system.channel.get_exchange("orders.dead-letter", ensure=False)
    letters, orders = 10_000, [f"o-{number}" for number in range(100)]
    headers: HeadersType = {"dead_letter_reason": "attempts_exhausted", "error_type": "E", "error_message": "e"}
    bodies = [json.dumps({"order_id": f"dead-{number}", "destination": "Oslo"}).encode() for number in range(letters)]
    started = time.monotonic()
    for start in range(0, letters, AT_ONCE):
        await asyncio.gather(
            *(
                exchange.publish(aio_pika.Message(body, headers=headers, delivery_mode=2), "")
                for body in bodies[start : start + AT_ONCE]
            )
        )
    published = time.monotonic() - started
    await publish(system, orders)
    await system.shipped(*orders, timeout=60)
    shipped_after = time.monotonic() - started
    left = letters - system.db.dead_letters.count_documents({})
    await eventually(lambda: system.db.dead_letters.count_documents({}) == letters, timeout=90)
    print(  # noqa: T201 - the figures
        f"{letters} published in {published:.1f} s; orders shipped after {shipped_after:.1f} s, {left} letters left;"
        f" all filed after {time.monotonic() - started:.1f} s; {worker.most_resident_mb:.0f} MiB at the most"
    )
    await eventually(lambda: has_depth(system, "orders.dlq", 0))
    assert await worker.terminate() == 0
    assert system.db.dead_letters.distinct("state") == ["open"]
    assert len(system.db.dead_letters.distinct("order_id")) == letters
    assert system.db.shipments.count_documents({"status": "FAILED"}) == letters


async def stuff(system: System, admin: BrokerAdmin, queue: str) -> None:
    """Fill the queue, and let it refuse whatever else comes."""
    for _ in range(STUFFED):
        await system.channel.default_exchange.publish(aio_pika.Message(b"filler", delivery_mode=2), queue)
    await admin.limit_length(queue, STUFFED - 1)

    async def is_limited() -> bool:
        return bool((await admin.queue(queue)).get("effective_policy_definition"))

    await eventually(is_limited)


async def drain_deep_queue(system: System, *, depth: int, observed: int) -> None:
    """Publish so many orders, then watch a worker ship the first of them."""
    prepared = await system.start_worker()
    assert await prepared.terminate() == 0
    started = time.monotonic()
    await flood(system, depth)
    publishing = time.monotonic() - started
    assert await has_at_least(system, depth)
    worker = await system.start_worker()
    await eventually(lambda: shipped(system) >= observed // 10, timeout=60)
    first, at = shipped(system), time.monotonic()
    memory = worker.resident_mb
    await eventually(lambda: shipped(system) >= observed, timeout=600, every=0.5)
    rate = (shipped(system) - first) / (time.monotonic() - at)
    print(  # noqa: T201 - the figures
        f"{depth} published in {publishing:.0f} s; with {await system.depth('orders.work')} still waiting: "
        f"{rate:.0f} orders/s, {memory:.0f} MiB early, {worker.most_resident_mb:.0f} MiB at the most"
    )
    assert rate > 100
    assert worker.most_resident_mb < 300
    assert (await worker.health())[0] == 200
    assert await worker.terminate() == 0
    assert system.letters() == []
    # What was in hand was finished; all the rest is still in the queue.
    assert shipped(system) + await system.depth("orders.work") == depth


async def flood(system: System, count: int) -> None:
    """Publish small orders as fast as one connection can, each confirmed."""
    exchange = await system.channel.get_exchange("orders", ensure=False)
    for start in range(0, count, AT_ONCE):
        await asyncio.gather(
            *(
                exchange.publish(
                    aio_pika.Message(b'{"order_id":"%d","destination":"Oslo"}' % number, delivery_mode=2),
                    "order.placed",
                )
                for number in range(start, min(start + AT_ONCE, count))
            )
        )


@contextmanager
def max_message_size(broker: PrivateRabbitMQ, size: int) -> Iterator[None]:
    """Have the broker take no larger messages on channels that are opened from now on."""

    def set_to(size: int) -> None:  # 3.10 looks into the one place, 4.x into the other
        name = "max_message_size"
        broker.ctl("eval", f"application:set_env(rabbit, {name}, {size}), persistent_term:put({name}, {size}).")

    set_to(size)
    try:
        yield
    finally:
        set_to(128 * MIB)


def filled_order(number: int, size: int) -> bytes:
    head = b'{"order_id": "large-%d", "destination": "' % number
    return head + bytes([97 + number % 26]) * (size - len(head) - 2) + b'"}'


@contextmanager
def tiny_disk(folder: Path, *, megabytes: int) -> Iterator[None]:
    """Mount a small file system at the folder; skip the test where that is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a disk cannot be filled here, mounting one is not permitted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_disk(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(64 * 1024))
        except OSError:
            pass


async def publish(system: System, orders: Sequence[str]) -> None:
    for start in range(0, len(orders), AT_ONCE):
        await asyncio.gather(*(system.publish_order(order) for order in orders[start : start + AT_ONCE]))


async def has_depth(system: System, queue: str, depth: int) -> bool:
    return await system.depth(queue) == depth


async def has_at_least(system: System, depth: int) -> bool:
    return await system.depth("orders.work") >= depth


async def shows(worker: WorkerProcess, line: str) -> bool:
    return line in (await worker.health("/metrics"))[1].splitlines()


async def unacknowledged(admin: BrokerAdmin, queue: str, count: int) -> bool:
    return (await admin.queue(queue)).get("messages_unacknowledged") == count


def shipped_or_failed(system: System) -> int:
    """How many orders the supplier was asked for."""
    return len({request["order_id"] for request in system.supplier.requests()})


def shipped(system: System) -> int:
    return system.db.shipments.count_documents({"status": "SHIPPED"})

"""Workers held back by hand: real processes, real servers, and operators at the command line."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest

from tests.conftest import Broker
from tests.support.admin import BrokerAdmin
from tests.support.command import Ran, run
from tests.support.proxy import Direction, Proxy, contains, proxy_to_broker, proxy_to_store, proxy_to_supplier
from tests.support.system import System, WorkerProcess, eventually
from worker.services import open_services
from worker.settings import load_settings

WHY = ("--why", "supplier migration")


@pytest.fixture(autouse=True)
def settings(system: System) -> None:
    system.settings.update(LOGISTICS_OPERATOR="anna", LOGISTICS_STORE_TIMEOUT="2s")


@pytest.fixture
async def to_supplier(system: System) -> AsyncIterator[Proxy]:
    """The way to the supplier, on which an answer can be held."""
    async with proxy_to_supplier(system.supplier.url) as proxy:
        yield proxy


async def start_with(system: System, to_supplier: Proxy) -> WorkerProcess:
    return await system.start_worker(LOGISTICS_SUPPLIER_URL=to_supplier.url, LOGISTICS_SUPPLIER_TIMEOUT="60s")


def let_go(proxy: Proxy) -> None:
    for connection in proxy.connections():
        connection.resume()


async def is_empty(system: System) -> bool:
    return await system.depth("orders.work") == 0


async def workers(system: System, *arguments: str, code: int = 0, **changes: str) -> Ran:
    ran = await run(system.environment(**changes), "workers", *arguments)
    assert ran.code == code, ran
    return ran


async def problems(system: System) -> list[str]:
    ran = await run(system.environment(), "status", "--json")
    return list(ran.document["problems"])


def name_of(worker: WorkerProcess) -> str:
    return str(worker.events("worker.started")[0]["worker"])


def control(system: System, worker: WorkerProcess) -> dict[str, Any]:
    """What a worker says of itself that it carries out."""
    found = system.db.workers.find_one({"_id": name_of(worker)}) or {}
    return dict(found.get("control", {}))


async def publish(system: System, *orders: str) -> None:
    await asyncio.gather(*(system.publish_order(order) for order in orders))


async def publish_elsewhere(system: System, exchange: str, key: str, body: bytes) -> None:
    target = await system.channel.get_exchange(exchange, ensure=False)
    message = aio_pika.Message(body, message_id=uuid.uuid4().hex, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await target.publish(message, key, mandatory=True, timeout=10)


async def stays_waiting(system: System, *orders: str, seconds: float = 1.5) -> None:
    """Check that these orders, and no others, wait, and that the supplier is asked for none."""

    async def all_wait() -> bool:
        return await system.depth("orders.work") == len(orders)

    await eventually(all_wait)
    asked = system.supplier.stats()["requests"]
    await asyncio.sleep(seconds)
    assert await all_wait()
    assert system.supplier.stats()["requests"] == asked


async def test_a_pause_stops_all_workers_at_once_and_resume_lets_every_order_ship(system: System) -> None:
    first, second = await system.start_worker(), await system.start_worker()
    await publish(system, "before")
    await system.shipped("before")
    ran = await workers(system, "pause", "--all", *WHY)
    assert (ran.out, ran.err) == ("Paused: all 2 workers\n", ""), "the command waits for that, and for 3 s at most"
    stored = system.db.audit_log.find_one({"action": "workers.pause"})
    assert stored is not None
    assert (stored["who"], stored["why"], stored["what"]) == ("anna", "supplier migration", "all workers")
    await publish(system, "o-1", "o-2")
    await stays_waiting(system, "o-1", "o-2")
    for worker in (first, second):
        assert (await worker.health("/livez"))[0] == (await worker.health("/readyz"))[0] == 200
        assert "logistics_paused 1.0" in (await worker.health("/metrics"))[1].splitlines()
    [told] = await problems(system)
    assert told.startswith("taking orders is paused on all workers by anna since ")
    assert told.endswith(": supplier migration; 'logistics workers resume --all' ends it")

    ran = await workers(system, "resume", "--all", "--why", "it is over")
    assert ran.out == "Resumed: all 2 workers\n"
    await system.shipped("o-1", "o-2")
    assert await problems(system) == []


async def test_what_is_in_hand_is_finished_and_notices_and_dead_letters_go_on_during_a_pause(
    system: System, to_supplier: Proxy
) -> None:
    await start_with(system, to_supplier)
    answer = to_supplier.hold_before(contains(b"HTTP/1.1 "), direction=Direction.TO_CLIENT)
    await publish(system, "in-hand")
    await answer.springs()
    await workers(system, "pause", "--all", *WHY)
    assert system.status("in-hand") == "PENDING"
    let_go(to_supplier)
    await system.shipped("in-hand")
    await publish(system, "waits")
    notice = b'{"order_id": "in-hand", "delivered_at": "2026-03-01T14:05:00Z"}'
    await publish_elsewhere(system, "shipments", "shipment.delivered", notice)
    await eventually(lambda: system.status("in-hand") == "DELIVERED", timeout=5)
    await publish_elsewhere(system, "orders.dead-letter", "", b"put there by hand")
    await eventually(lambda: system.letters(reason="unknown"), timeout=5)
    assert await system.depth("orders.work") == 1


async def test_one_worker_is_paused_by_name_and_one_resumed_while_the_others_stay_paused(system: System) -> None:
    one, other = await system.start_worker(), await system.start_worker()
    ran = await workers(system, "pause", name_of(one), *WHY)
    assert ran.out == f"Paused: {name_of(one)}\n"
    assert (control(system, one)["paused"], control(system, other)["paused"]) == (True, False)
    await publish(system, *(f"o-{number}" for number in range(20)))
    await system.shipped(*(f"o-{number}" for number in range(20)))
    assert {
        line["worker"] for order in system.db.shipments.find() for line in order["history"] if "worker" in line
    } == {name_of(other)}
    await workers(system, "pause", "--all", *WHY)
    await workers(system, "resume", name_of(one))
    assert (control(system, one)["paused"], control(system, other)["paused"]) == (False, True)
    [told] = await problems(system)
    assert told.startswith(f"taking orders is paused on all workers but {name_of(one)} by anna since ")


async def test_a_worker_that_starts_during_a_pause_takes_nothing_killed_or_not(system: System) -> None:
    first = await system.start_worker()
    await workers(system, "pause", "--all", *WHY)
    await publish(system, "o-1")
    first.kill()
    for _ in range(2):
        worker = await system.start_worker()
        await stays_waiting(system, "o-1")
        assert worker.events("control.on")[0]["by"] == "anna"
        worker.kill()
    last = await system.start_worker()
    assert (await workers(system, "resume", "--all", "-q", code=1)).out.startswith("Resumed: 1 of ")
    await system.shipped("o-1")
    assert not last.events("order.duplicate")


async def test_a_circuit_opened_by_hand_makes_orders_wait_and_no_dead_letter_and_reset_ships_them(
    system: System,
) -> None:
    system.settings.update(LOGISTICS_MAX_AGE="1s", LOGISTICS_MAX_ATTEMPTS="1")
    worker = await system.start_worker()
    ran = await workers(system, "circuit", "open", "--all", *WHY)
    assert ran.out == f"Opened: {name_of(worker)}\n"
    orders = [f"o-{number}" for number in range(30)]
    await publish(system, *orders)
    await stays_waiting(system, *orders, seconds=3)  # longer than the recovery time: nobody probes
    worker.kill()
    again = await system.start_worker()
    await stays_waiting(system, *orders)
    [told] = [problem for problem in await problems(system) if "worker lost" not in problem]
    assert told.startswith("the circuit is held open on all workers")
    await workers(system, "circuit", "reset", name_of(again))
    await system.shipped(*orders)
    assert system.letters() == []


async def test_an_old_order_in_hand_when_the_circuit_is_opened_by_hand_comes_back_and_ships(
    system: System, to_supplier: Proxy
) -> None:
    """By itself an open circuit would give it up. A copy of it is in hand, too, waiting until the first is through."""
    worker = await start_with(system, to_supplier)
    system.supplier.change(rules=[{"match": "*", "status": 500}])
    answer = to_supplier.hold_before(contains(b"HTTP/1.1 "), direction=Direction.TO_CLIENT)
    two_days_ago = int((time.time() - 2 * 86400) * 1000)
    for _ in range(2):
        await system.publish_order("old", headers={"first_failed_at": two_days_ago})
    await answer.springs()
    await eventually(lambda: is_empty(system))
    await workers(system, "circuit", "open", "--all", *WHY)
    system.supplier.change(rules=[])
    let_go(to_supplier)
    await eventually(lambda: worker.events("order.deferred"))
    await stays_waiting(system, "old", "old")
    await workers(system, "circuit", "reset", "--all")
    await system.shipped("old")
    assert system.letters() == []
    assert "circuit opened by hand by anna: supplier migration" in str(worker.events("order.deferred"))


async def test_reset_by_hand_closes_a_circuit_that_failures_have_opened(system: System) -> None:
    worker = await system.start_worker(LOGISTICS_BREAKER_RECOVERY_TIMEOUT="1h", LOGISTICS_RETRY_DELAYS="200ms")
    system.supplier.change(outage=True, retry_after=None)
    await publish(system, *(f"o-{number}" for number in range(5)))
    await eventually(lambda: worker.events("circuit.open"))
    system.supplier.change(outage=False)
    await workers(system, "circuit", "reset", "--all")
    await system.shipped(*(f"o-{number}" for number in range(5)))


async def test_an_order_that_an_open_circuit_refused_ships_at_once_when_it_is_reset(
    system: System, to_supplier: Proxy
) -> None:
    """A copy of an order waits in hand for the first: that fails and opens the circuit, which refuses the copy."""
    system.settings.update(LOGISTICS_BREAKER_RECOVERY_TIMEOUT="1h", LOGISTICS_BREAKER_FAILURE_THRESHOLD="1")
    worker = await start_with(system, to_supplier)
    system.supplier.change(outage=True, retry_after=None)
    answer = to_supplier.hold_before(contains(b"HTTP/1.1 "), direction=Direction.TO_CLIENT)
    await publish(system, "o-1", "o-1")
    await answer.springs()
    await eventually(lambda: is_empty(system))
    let_go(to_supplier)
    await eventually(lambda: worker.events("order.deferred"))
    system.supplier.change(outage=False)
    await workers(system, "circuit", "reset", "--all")
    await system.shipped("o-1")
    assert worker.events("order.retry")
    assert system.letters() == []


async def test_another_prefetch_is_seen_at_the_broker_and_at_the_supplier(system: System, broker: Broker) -> None:
    admin = BrokerAdmin(broker.amqp_url, broker.management_url)
    worker = await system.start_worker(LOGISTICS_PREFETCH="2")

    async def prefetch() -> list[int]:
        consumers = await admin.call("GET", f"/api/consumers/{broker.vhost}")
        return [each["prefetch_count"] for each in consumers if each["queue"]["name"] == "orders.work"]

    async def is_now(number: int) -> bool:
        return await prefetch() == [number]

    await eventually(lambda: is_now(2))
    await workers(system, "prefetch", "12", "--all", *WHY)
    await eventually(lambda: is_now(12))
    system.supplier.change(latency=0.5)
    await publish(system, *(f"o-{number}" for number in range(36)))
    await system.shipped(*(f"o-{number}" for number in range(36)))
    assert system.supplier.stats()["max_in_flight"] == 12, "the connections follow"
    [told] = await problems(system)
    assert told.startswith("the prefetch is set to 12 on all workers by anna")
    await workers(system, "prefetch", "default", "--all")
    await eventually(lambda: is_now(2))
    assert control(system, worker)["prefetch"] == 2


async def test_paused_while_the_store_is_away_it_stays_paused_and_hears_of_the_end_before_it_takes_anything(
    system: System,
) -> None:
    async with proxy_to_store(system.mongodb_uri) as proxy:
        worker = await system.start_worker(LOGISTICS_MONGODB_URI=proxy.url)
        await workers(system, "pause", "--all", *WHY)
        await publish(system, "o-1")
        proxy.refuse()
        await proxy.cut()
        await stays_waiting(system, "o-1", seconds=3)
        ran = await workers(system, "prefetch", "7", "--all", *WHY, code=1)
        assert ran.out.startswith(f"Changed: 0 of 1 worker; {name_of(worker)} has not answered yet")
        await proxy.listen()
        await eventually(lambda: control(system, worker).get("prefetch") == 7, timeout=10)
        await stays_waiting(system, "o-1", seconds=1)
        await workers(system, "resume", "--all")
        await system.shipped("o-1")


async def test_paused_while_the_broker_is_silent_and_then_away_it_takes_nothing_when_it_is_back(system: System) -> None:
    async with proxy_to_broker(system.amqp_url) as proxy:
        worker = await system.start_worker(LOGISTICS_AMQP_URL=proxy.url)
        proxy.hold()
        assert (await workers(system, "pause", "--all", *WHY)).out == f"Paused: {name_of(worker)}\n"
        await publish(system, "o-1")
        connected = len(worker.events("broker.connected"))
        await proxy.cut()
        await eventually(lambda: len(worker.events("broker.connected")) >= connected + 3, timeout=30)
        await stays_waiting(system, "o-1")


async def test_a_worker_that_drains_takes_nothing_more_whatever_is_wished_of_it(
    system: System, to_supplier: Proxy
) -> None:
    worker = await start_with(system, to_supplier)
    answer = to_supplier.hold_before(contains(b"HTTP/1.1 "), direction=Direction.TO_CLIENT)
    await publish(system, "in-hand")
    await answer.springs()
    worker.process.terminate()
    await eventually(lambda: worker.events("worker.draining"))
    await publish(system, "late")
    await workers(system, "prefetch", "7", "--all", *WHY)
    assert control(system, worker)["prefetch"] == 7
    let_go(to_supplier)
    assert await asyncio.to_thread(worker.process.wait, 20) == 0
    assert (system.status("in-hand"), system.status("late")) == ("SHIPPED", None)


async def test_of_many_changes_in_a_row_the_last_one_counts(system: System) -> None:
    await system.start_worker()
    async with open_services(load_settings(system.environment())) as services:
        for number in range(30):
            change = services.controls.resume if number % 2 else services.controls.pause
            last = await change(None, by="anna", why=f"number {number}")
            await asyncio.sleep(random.uniform(0, 0.2))
        await services.controls.answers(last.revision, None)
        await publish(system, "o-1")
        await system.shipped("o-1")
        last = await services.controls.pause(None, by="anna", why="the last")
        assert (await services.controls.answers(last.revision, None)).silent == []
    await publish(system, "o-2")
    await stays_waiting(system, "o-2")


async def test_two_operators_at_once_are_both_heard(system: System) -> None:
    worker = await system.start_worker()
    await asyncio.gather(
        workers(system, "pause", "--all", *WHY, LOGISTICS_OPERATOR="anna"),
        workers(system, "prefetch", "5", "--all", *WHY, LOGISTICS_OPERATOR="ben"),
        workers(system, "prefetch", "6", name_of(worker), *WHY, LOGISTICS_OPERATOR="cleo"),
    )
    carried_out = control(system, worker)
    assert carried_out["revision"] == 3
    assert carried_out["paused"]
    assert carried_out["prefetch"] in {5, 6}, "the later one's"
    assert system.db.audit_log.count_documents({"result": "done"}) == 3

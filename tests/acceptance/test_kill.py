"""kill -9 at every step of handling: what is left is at worst a duplicate that changes nothing.

The worker has no hooks. A proxy holds the one message that would take it to the next step, the process is killed
there, and a fresh worker without a proxy goes on with what the first one left.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from tests.support.command import replay_everything
from tests.support.proxy import (
    Direction,
    Predicate,
    Proxy,
    contains,
    is_ack,
    is_publish,
    proxy_to_broker,
    proxy_to_store,
)
from tests.support.system import System, WorkerProcess, eventually
from worker.domain.shipment import shipment_id_for

ORDER = "order-17"
HANDLING, FILING, PUBLISHING = b"consume orders.work", b"consume orders.dlq", b" publish"
WORK, RETRY, DEAD = "orders.work", "orders.retry.2s", "orders.dlq"
PATIENT = {
    "LOGISTICS_RETRY_DELAYS": "2s",
    "LOGISTICS_STORE_TIMEOUT": "30s",
    "LOGISTICS_SUPPLIER_TIMEOUT": "30s",
}
"""A worker that is to be killed waits for what is held; it does not give up before."""
OUTCOMES = (
    *("order.shipped", "order.duplicate", "order.retry", "order.deferred", "order.dead_lettered"),
    *("dead_letter.filed", "dead_letter.resolved_already"),
)

STEPS_OF_SETTLING = [
    pytest.param(is_publish, Direction.TO_SERVER, PUBLISHING, 0, id="before the publish arrived"),
    pytest.param(is_ack, Direction.TO_CLIENT, PUBLISHING, 1, id="before the confirm came back"),
    pytest.param(is_ack, Direction.TO_SERVER, HANDLING, 1, id="before the ack arrived"),
]
"""What is held while a failure is settled, and how many copies of the message are out by then."""


@pytest.fixture(autouse=True)
def patient_workers(system: System) -> None:
    system.settings.update(PATIENT)


@pytest.fixture
async def to_broker(system: System) -> AsyncIterator[Proxy]:
    async with proxy_to_broker(system.amqp_url) as proxy:
        yield proxy


@pytest.fixture
async def to_store(system: System) -> AsyncIterator[Proxy]:
    async with proxy_to_store(system.mongodb_uri) as proxy:
        yield proxy


async def test_killed_before_the_first_save_only_the_message_is_known(system: System, to_store: Proxy) -> None:
    worker = await system.start_worker(LOGISTICS_MONGODB_URI=to_store.url)
    first_save = to_store.hold_before(contains(b"documents", ORDER.encode()))
    await system.publish_order(ORDER)
    await first_save.springs()
    await kill(worker, to_store)
    await waiting(system, work=1)
    assert system.shipment(ORDER) is None
    assert system.supplier.requests() == []
    await a_fresh_worker_finishes(system, {"order.shipped": 1})
    shipped_once(system, requests=1)


@pytest.mark.parametrize("dispatches", [False, True], ids=["it had not dispatched", "it had dispatched"])
async def test_killed_before_the_supplier_answered_it_is_asked_again(system: System, dispatches: bool) -> None:
    system.supplier.change(timeout_rate=1.0, dispatch_before_timeout=dispatches)
    worker = await system.start_worker()
    await system.publish_order(ORDER)
    await eventually(lambda: system.supplier.stats()["requests_by_status"] == {"timeout": 1})  # it never answers
    await kill(worker)
    await waiting(system, work=1)
    assert system.status(ORDER) == "PENDING"
    assert system.supplier.stats()["dispatches"] == dispatches
    system.supplier.change(timeout_rate=0.0)
    await a_fresh_worker_finishes(system, {"order.shipped": 1})
    shipped_once(system, requests=2)


async def test_killed_before_the_second_save_the_dispatch_is_not_repeated(system: System, to_store: Proxy) -> None:
    worker = await system.start_worker(LOGISTICS_MONGODB_URI=to_store.url)
    second_save = to_store.hold_before(contains(b"SHIPPED", shipment_id_for(ORDER).encode()))
    await system.publish_order(ORDER)
    await second_save.springs()
    await kill(worker, to_store)
    await waiting(system, work=1)
    assert system.supplier.stats()["requests_by_status"] == {"201": 1}
    assert system.status(ORDER) == "PENDING"
    await a_fresh_worker_finishes(system, {"order.shipped": 1})
    shipped_once(system, requests=2)
    assert system.supplier.stats()["repeated"] == 1


async def test_killed_before_the_ack_of_a_shipped_order_nothing_changes_any_more(
    system: System, to_broker: Proxy
) -> None:
    worker = await system.start_worker(LOGISTICS_AMQP_URL=to_broker.url)
    ack = to_broker.hold_before(is_ack, name=HANDLING)
    await system.publish_order(ORDER)
    await ack.springs()
    await kill(worker, to_broker)
    await waiting(system, work=1)
    before = system.shipment(ORDER)
    assert before is not None
    assert before["status"] == "SHIPPED"
    await a_fresh_worker_finishes(system, {"order.duplicate": 1})
    shipped_once(system, requests=1)
    assert system.shipment(ORDER) == before


@pytest.mark.parametrize(("held", "direction", "name", "copies"), STEPS_OF_SETTLING)
async def test_killed_while_a_retry_is_settled_the_order_and_its_copy_ship_once(
    system: System, to_broker: Proxy, held: Predicate, direction: Direction, name: bytes, copies: int
) -> None:
    system.supplier.change(rules=[{"match": ORDER, "fail_first": 1}], dispatch_before_failure=True)
    worker = await system.start_worker(LOGISTICS_AMQP_URL=to_broker.url)
    step = to_broker.hold_before(held, direction=direction, name=name)
    await system.publish_order(ORDER)
    await step.springs()
    await eventually(lambda: has_depth(system, RETRY, copies))
    await kill(worker, to_broker)
    await waiting(system, work=1 + copies)  # the copy comes back after its delay
    await a_fresh_worker_finishes(system, {"order.shipped": 1, "order.duplicate": copies})
    shipped_once(system, requests=2, history=["received", "attempt_failed", "shipped"])


@pytest.mark.parametrize(("held", "direction", "name", "copies"), STEPS_OF_SETTLING)
async def test_killed_while_a_refusal_is_settled_it_is_one_dead_letter(
    system: System, to_broker: Proxy, held: Predicate, direction: Direction, name: bytes, copies: int
) -> None:
    system.supplier.change(rules=[{"match": ORDER, "refuse": True}])
    worker = await system.start_worker("--consumers", "orders", LOGISTICS_AMQP_URL=to_broker.url)
    step = to_broker.hold_before(held, direction=direction, name=name)
    await system.publish_order(ORDER)
    await step.springs()
    await eventually(lambda: has_depth(system, DEAD, copies))
    await kill(worker, to_broker)
    await waiting(system, work=1, dead=copies)
    assert system.status(ORDER) == "FAILED"
    await a_fresh_worker_finishes(system, {"order.dead_lettered": 1, "dead_letter.filed": 1 + copies})
    failed_once(system, requests=2)


async def test_killed_while_a_malformed_message_is_settled_it_is_one_dead_letter(
    system: System, to_broker: Proxy
) -> None:
    worker = await system.start_worker("--consumers", "orders", LOGISTICS_AMQP_URL=to_broker.url)
    ack = to_broker.hold_before(is_ack, name=HANDLING)
    await system.publish(b"not an order")
    await ack.springs()
    await kill(worker, to_broker)
    await waiting(system, work=1, dead=1)
    await a_fresh_worker_finishes(system, {"order.dead_lettered": 1, "dead_letter.filed": 2})
    assert [letter["body"] for letter in system.letters()] == [b"not an order"]
    assert [event["event"] for event in system.letters()[0]["history"]] == ["filed"]


async def test_killed_between_filing_and_its_ack_a_letter_is_not_filed_twice(system: System, to_broker: Proxy) -> None:
    await filed_and_killed(system, to_broker)
    before = system.letters()
    await a_fresh_worker_finishes(system, {"dead_letter.filed": 1})
    failed_once(system, requests=1)
    assert system.letters() == before
    await replayed_it_ships(system)


async def test_killed_between_filing_and_its_ack_a_letter_resolved_meanwhile_stays_resolved(
    system: System, to_broker: Proxy
) -> None:
    await filed_and_killed(system, to_broker)
    await replayed_it_ships(system, "--consumers", "orders,replays", dead=1)
    before = system.letters()
    await a_fresh_worker_finishes(system, {"dead_letter.filed": 1, "dead_letter.resolved_already": 1})
    assert system.letters() == before
    assert system.supplier.stats()["requests"] == 2


async def test_killed_in_a_replay_between_shipping_and_resolving_the_letter_is_resolved_later(
    system: System, to_store: Proxy
) -> None:
    system.supplier.change(rules=[{"match": ORDER, "refuse": True}])
    worker = await system.start_worker(LOGISTICS_MONGODB_URI=to_store.url)
    await system.publish_order(ORDER)
    await eventually(lambda: system.letters(state="open"))
    system.supplier.change(rules=[])
    resolving = to_store.hold_before(contains(b"dead_letters", b"resolved"))
    await replay_everything(system.environment())
    await resolving.springs()
    await kill(worker, to_store)
    await waiting(system, work=1)
    assert system.status(ORDER) == "SHIPPED"
    assert [letter["state"] for letter in system.letters()] == ["replaying"]
    await a_fresh_worker_finishes(system, {"order.duplicate": 1})
    assert [letter["state"] for letter in system.letters()] == ["resolved"]
    shipped_once(system, requests=2)


@pytest.mark.timeout(300)
async def test_an_order_that_kills_its_worker_each_time_is_a_dead_letter_and_its_neighbours_ship(
    system: System,
) -> None:
    slow = [f"slow-{number}" for number in range(20)]  # in hand each time it strikes: they take longer than it does
    system.supplier.change(rules=[{"match": ORDER, "status": 500, "latency": 60}, {"match": "slow-*", "latency": 0.4}])
    worker = await system.start_worker()
    for order in (ORDER, *slow):
        await system.publish_order(order)
    deaths = 0
    while await asked_again_or_filed(system, deaths):
        deaths += 1
        await system.publish_order(f"neighbour-{deaths}")
        await kill(worker)
        worker = await system.start_worker()
    assert deaths == 21  # the broker allows 20 redeliveries
    await system.shipped(*(f"neighbour-{number}" for number in range(1, deaths + 1)), *slow)
    assert await worker.terminate() == 0
    await waiting(system)
    assert [(letter["order_id"], letter["reason"]) for letter in system.letters()] == [(ORDER, "delivery_limit")]
    assert system.status(ORDER) == "FAILED"

    system.supplier.change(rules=[])
    worker = await system.start_worker()
    await replay_everything(system.environment())
    await eventually(lambda: system.letters(state="resolved"))
    assert await worker.terminate() == 0
    await waiting(system)
    stats = system.supplier.stats()
    assert system.db.shipments.count_documents({"status": "SHIPPED"}) == 1 + deaths + len(slow)
    assert stats["distinct_idempotency_keys"] == stats["dispatches"] == 1 + deaths + len(slow)
    assert stats["double_dispatches"] == 0


async def kill(worker: WorkerProcess, *proxies: Proxy) -> None:
    """SIGKILL, and see to it that nothing a proxy held arrives after all."""
    worker.kill()
    for proxy in proxies:
        await proxy.cut()


async def filed_and_killed(system: System, to_broker: Proxy) -> None:
    """Have a refused order filed by a worker that dies before its ack of `orders.dlq` arrives."""
    system.supplier.change(rules=[{"match": ORDER, "refuse": True}])
    refused = await system.start_worker("--consumers", "orders")
    await system.publish_order(ORDER)
    await eventually(lambda: has_depth(system, DEAD, 1))
    assert await refused.terminate() == 0
    ack = to_broker.hold_before(is_ack, name=FILING)
    worker = await system.start_worker("--consumers", "dead-letters", LOGISTICS_AMQP_URL=to_broker.url)
    await ack.springs()
    await kill(worker, to_broker)
    await waiting(system, dead=1)
    failed_once(system, requests=1)


async def replayed_it_ships(system: System, *consumers: str, dead: int = 0) -> None:
    """Replay the one dead letter to a fresh worker that meets no obstacle; leave `dead` messages in `orders.dlq`."""
    system.supplier.change(rules=[])
    worker = await system.start_worker(*consumers)
    await replay_everything(system.environment())
    await eventually(lambda: system.letters(state="resolved"))
    assert await worker.terminate() == 0
    await waiting(system, dead=dead)
    assert [letter["state"] for letter in system.letters()] == ["resolved"]
    shipped_once(system)


async def a_fresh_worker_finishes(system: System, expected: Mapping[str, int]) -> None:
    """Have a worker without a proxy work off everything: these outcomes and no others, and no message is left."""
    worker = await system.start_worker()
    wanted = {event: count for event, count in expected.items() if count}

    def outcomes() -> dict[str, int]:
        counts = {event: len(worker.events(event)) for event in OUTCOMES}
        return {event: count for event, count in counts.items() if count}

    await eventually(lambda: outcomes() == wanted or sum(outcomes().values()) > sum(wanted.values()))
    assert await worker.terminate() == 0
    assert outcomes() == wanted
    await waiting(system)


async def waiting(system: System, *, work: int = 0, dead: int = 0) -> None:
    """Return when so many messages are in the queues, with no worker holding any, and none in between."""
    for queue, depth in ((RETRY, 0), (WORK, work), (DEAD, dead)):
        await eventually(lambda queue=queue, depth=depth: has_depth(system, queue, depth))


async def has_depth(system: System, queue: str, depth: int) -> bool:
    return await system.depth(queue) == depth


async def asked_again_or_filed(system: System, times: int) -> bool:
    """Wait for what comes first: True when the supplier is asked for the order again, False when it is filed."""
    await eventually(lambda: len(system.supplier.requests(ORDER)) > times or system.letters())
    return len(system.supplier.requests(ORDER)) > times


def shipped_once(system: System, *, requests: int | None = None, history: Sequence[str] = ()) -> None:
    """One shipment, one key, one dispatch, no dead letter that is not resolved; and so many requests, where given."""
    shipments = list(system.db.shipments.find())
    stats = system.supplier.stats()
    assert [(shipment["order_id"], shipment["status"]) for shipment in shipments] == [(ORDER, "SHIPPED")]
    assert (stats["distinct_idempotency_keys"], stats["dispatches"], stats["double_dispatches"]) == (1, 1, 0)
    assert stats["contract_breaches"] == 0
    assert {letter["state"] for letter in system.letters()} <= {"resolved"}
    if requests is not None:
        assert stats["requests"] == requests
    if history:
        assert [event["event"] for event in shipments[0]["history"]] == list(history)


def failed_once(system: System, *, requests: int) -> None:
    """One shipment that is FAILED, one open dead letter filed once, no dispatch."""
    stats = system.supplier.stats()
    letters = system.letters()
    assert [(shipment["order_id"], shipment["status"]) for shipment in system.db.shipments.find()] == [
        (ORDER, "FAILED")
    ]
    assert [(letter["order_id"], letter["state"], letter["reason"]) for letter in letters] == [
        (ORDER, "open", "supplier_rejected")
    ]
    assert [event["event"] for event in letters[0]["history"]] == ["filed"]
    assert (stats["distinct_idempotency_keys"], stats["dispatches"], stats["requests"]) == (1, 0, requests)

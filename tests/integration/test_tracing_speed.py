"""What tracing costs an order: next to nothing while it is off."""

import asyncio
import time
from collections.abc import Callable

import pytest

from consumers.orders import OrderConsumer
from tests.support.fake_ports import FakeRepository, FakeSupplier
from tests.support.fakes import FakeDeadLetters
from worker.domain.core import LogisticsCore
from worker.domain.delivery import Delivery
from worker.domain.outcome import Ack
from worker.domain.retry import RetryPolicy
from worker.domain.tracing import NO_TRACING, ITracing

ORDERS, ROUNDS = 500, 7


def the_consumer() -> OrderConsumer:
    """An order's way with everything outside left away: no broker, no store, no supplier, no log."""
    policy = RetryPolicy()
    core = LogisticsCore(
        repository=FakeRepository(),
        supplier=FakeSupplier(),
        dead_letters=FakeDeadLetters(),
        policy=policy,
        worker_name="worker-1",
    )
    return OrderConsumer(core=core, policy=policy, max_body_bytes=10_000)


def an_order(number: int) -> Delivery:
    body = b'{"order_id": "A-%d", "destination": "Oslo"}' % number
    headers = {"trace_id": f"trace-{number}", "traceparent": f"00-{number + 1:032x}-{'b' * 16}-01"}
    return Delivery(body, headers, message_id=f"m-{number}", exchange="orders", routing_key="order.placed")


def handling() -> None:
    consumer = the_consumer()

    async def handle() -> None:
        for number in range(ORDERS):
            await consumer.handle(an_order(number))

    asyncio.run(handle())


def spanning(tracing: ITracing) -> None:
    """What tracing adds to so many orders: a span for the delivery, one for the request."""
    for number in range(ORDERS):
        with tracing.process("orders.work", an_order(number), tag=number) as process:
            with tracing.request("POST", "http://supplier.example/dispatches") as request:
                request.answered(200)
            process.came_to(Ack("shipped"))


def making_orders() -> None:
    for number in range(ORDERS):
        an_order(number)


def best(work: Callable[[], None]) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.alone
def test_tracing_that_is_off_adds_a_fiftieth_at_most_to_what_handling_alone_costs() -> None:
    off = best(lambda: spanning(NO_TRACING)) - best(making_orders)
    assert off / best(handling) < 0.02

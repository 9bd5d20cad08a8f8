"""The straight line and its branches, with the real entry point as a process."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.support.system import PROJECT, System, eventually

pytestmark = pytest.mark.cold

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_good_order_is_stored_dispatched_and_stored_again(system: System) -> None:
    worker = await system.start_worker()
    await system.publish_order("o-1")
    await system.shipped("o-1")
    shipment = system.shipment("o-1")
    assert shipment is not None
    assert shipment["retry_count"] == 0
    assert shipment["destination"] == "Oslo"
    assert [event["event"] for event in shipment["history"]] == ["received", "shipped"]
    assert system.supplier.stats()["contract_breaches"] == 0
    assert await system.depth("orders.work") == 0
    assert await worker.terminate() == 0


async def test_a_given_trace_comes_out_at_every_station(system: System) -> None:
    worker = await system.start_worker()
    system.supplier.change(rules=[{"match": "o-fails", "status": 500}])
    headers = {"trace_id": "shop-42/ø", "traceparent": TRACEPARENT, "tracestate": "shop=1"}
    await system.publish_order("o-fails", headers=headers)
    await eventually(lambda: worker.events("dead_letter.filed"))  # the last line; it is written after the letter

    letter = system.letters(state="open")[0]
    shipment = system.shipment("o-fails")
    requests = system.supplier.requests("o-fails")
    lines = [line for line in worker.lines() if line.get("order_id") == "o-fails"]
    assert letter["trace_id"] == "shop-42/ø"
    assert letter["headers"]["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1]
    assert letter["headers"]["tracestate"] == "shop=1"
    assert shipment is not None
    assert shipment["trace_id"] == "shop-42/ø"
    assert len(requests) == 3
    assert {request["trace_id"] for request in requests} == {"shop-42/ø"}
    assert {str(request["traceparent"]).split("-")[1] for request in requests} == {TRACEPARENT.split("-")[1]}
    assert {line["trace_id"] for line in lines} == {"shop-42/ø"}
    assert {"order.retry", "order.dead_lettered", "dead_letter.filed"} <= {line["event"] for line in lines}


async def test_an_absent_trace_is_made_once_and_kept_through_retries(system: System) -> None:
    await system.start_worker()
    system.supplier.change(rules=[{"match": "o-*", "fail_first": 2}])
    await system.publish_order("o-1")
    await system.shipped("o-1")
    traces = {request["trace_id"] for request in system.supplier.requests("o-1")}
    shipment = system.shipment("o-1")
    assert shipment is not None
    assert traces == {shipment["trace_id"]}
    assert len(system.supplier.requests("o-1")) == 3
    assert shipment["retry_count"] == 2


async def test_what_keeps_failing_is_a_dead_letter_with_every_attempt(system: System) -> None:
    await system.start_worker()
    system.supplier.change(rules=[{"match": "o-*", "status": 500}])
    await system.publish({"order_id": "o-1", "destination": "Oslo", "note": [1, {"a": None}]})
    await eventually(lambda: system.letters(state="open"))
    letter = system.letters()[0]
    assert letter["reason"] == "attempts_exhausted"
    assert letter["order_id"] == "o-1"
    assert json.loads(letter["body"]) == {"order_id": "o-1", "destination": "Oslo", "note": [1, {"a": None}]}
    assert [attempt["attempt"] for attempt in letter["attempts"]] == [1, 2, 3]
    assert letter["headers"]["attempt"] == 3
    assert letter["origin_exchange"] == "orders"
    assert letter["origin_routing_key"] == "order.placed"
    assert letter["error_type"] == "SupplierOutcomeUnknownError"
    assert system.status("o-1") == "FAILED"


async def test_a_refusal_is_final_and_no_failure_of_the_supplier(system: System) -> None:
    await system.start_worker()
    system.supplier.change(rules=[{"match": "no-*", "refuse": True}, {"match": "soft-*", "refuse_softly": True}])
    for number in range(5):
        await system.publish_order(f"no-{number}")
        await system.publish_order(f"soft-{number}")
    await system.publish_order("yes")
    await eventually(lambda: len(system.letters(reason="supplier_rejected")) == 10)
    await system.shipped("yes")
    assert len(system.supplier.requests()) == 11
    assert system.status("no-1") == "FAILED"


async def test_fifty_copies_at_two_workers_are_one_shipment_and_one_dispatch(system: System) -> None:
    system.supplier.change(latency=0.1)
    await system.start_worker()
    await system.start_worker()
    await asyncio.gather(*(system.publish_order("same") for _ in range(50)))
    await system.shipped("same")
    asked = len(system.supplier.requests("same"))
    await eventually(lambda: _all_settled(system))
    assert len(system.supplier.requests("same")) == asked
    assert asked <= 2  # one a worker at most: copies in one process wait for each other
    stats = system.supplier.stats()
    assert stats["distinct_idempotency_keys"] == 1
    assert stats["dispatches"] == 1
    assert system.db.shipments.count_documents({}) == 1


async def test_an_outage_opens_the_circuit_pauses_intake_and_loses_nothing(system: System) -> None:
    worker = await system.start_worker(LOGISTICS_PREFETCH="10")
    system.supplier.change(outage=True)
    orders = [f"o-{number}" for number in range(60)]
    for order in orders:
        await system.publish_order(order)
    await eventually(lambda: worker.events("circuit.open"))
    await asyncio.sleep(2.5)
    during = len(system.supplier.requests(limit=1000))
    assert during < 30, "the backlog is not thrown at a supplier that is down"
    assert await system.depth("orders.work") > 30
    system.supplier.change(outage=False)
    await system.shipped(*orders)
    assert system.letters() == []
    assert system.supplier.stats()["double_dispatches"] == 0


async def test_a_429_waits_as_long_as_it_was_asked_to(system: System) -> None:
    await system.start_worker(LOGISTICS_RETRY_DELAYS="200ms,3s", LOGISTICS_BREAKER_FAILURE_THRESHOLD="50")
    system.supplier.change(throttle_rate=1.0, retry_after=2)
    await system.publish_order("o-1")
    await eventually(lambda: system.supplier.requests("o-1"))
    system.supplier.change(throttle_rate=0.0)
    await system.shipped("o-1")
    first, second = system.supplier.requests("o-1")
    assert int(str(second["time"])) - int(str(first["time"])) >= 2000


async def test_a_lost_binding_is_restored_and_the_retry_that_found_it_is_not_lost(system: System) -> None:
    worker = await system.start_worker()
    queue = await system.channel.get_queue("orders.retry.200ms", ensure=False)
    await queue.unbind("orders.retry", "200ms")
    system.supplier.change(rules=[{"match": "o-*", "fail_first": 1}])
    await system.publish_order("o-1")
    await system.shipped("o-1")
    held = worker.events("settlement.held")[0]
    assert (held["order_id"], held["trace_id"]) == ("o-1", system.supplier.requests("o-1")[0]["trace_id"])
    assert len(system.supplier.requests("o-1")) == 2


async def test_a_deleted_retry_exchange_is_made_again_and_the_retry_that_found_it_gone_is_not_lost(
    system: System,
) -> None:
    worker = await system.start_worker()
    await system.channel.exchange_delete("orders.retry")
    system.supplier.change(rules=[{"match": "o-*", "fail_first": 1}])
    await system.publish_order("o-1")
    await system.shipped("o-1")
    assert worker.events("settlement.held")[0]["order_id"] == "o-1"
    assert len(system.supplier.requests("o-1")) == 2


async def test_a_worker_drains_on_sigterm_and_gives_nothing_back_that_it_finished(system: System) -> None:
    system.supplier.change(latency=0.5)
    worker = await system.start_worker(LOGISTICS_PREFETCH="10")
    orders = [f"o-{number}" for number in range(40)]
    for order in orders:
        await system.publish_order(order)
    await eventually(lambda: system.supplier.stats()["in_flight"] == 10)
    assert await worker.terminate() == 0
    shipped = {order for order in orders if system.status(order) == "SHIPPED"}
    assert len(shipped) >= 10
    assert len(system.supplier.requests(limit=1000)) == len(shipped)
    await system.start_worker()
    await system.shipped(*orders)
    assert len(system.supplier.requests(limit=1000)) == 40


async def test_a_drain_past_its_deadline_gives_the_rest_back(system: System) -> None:
    system.supplier.change(latency=1.5)
    worker = await system.start_worker(LOGISTICS_DRAIN_TIMEOUT="300ms")
    await system.publish_order("slow")
    await eventually(lambda: system.supplier.stats()["in_flight"] == 1)
    assert await worker.terminate() == 0
    assert worker.events("worker.gave_back")
    await system.start_worker()
    await system.shipped("slow")
    assert system.supplier.stats()["dispatches"] == 1


async def test_a_second_signal_ends_the_worker_at_once(system: System) -> None:
    system.supplier.change(latency=20.0)
    worker = await system.start_worker(LOGISTICS_SUPPLIER_TIMEOUT="30s")
    await system.publish_order("slow")
    await eventually(lambda: system.supplier.stats()["in_flight"] == 1)
    worker.process.terminate()
    await eventually(lambda: worker.events("worker.draining"))
    await asyncio.sleep(0.1)
    assert await worker.terminate(timeout=10.0) == 128 + 15


async def test_two_signals_in_one_breath_are_one_wish_to_drain(system: System) -> None:
    """As timeout(1) sends them: to the process, and at once to its group."""
    system.supplier.change(latency=0.5)
    worker = await system.start_worker()
    await system.publish_order("o-1")
    await eventually(lambda: system.supplier.stats()["in_flight"] == 1)
    worker.process.terminate()
    assert await worker.terminate() == 0
    assert system.status("o-1") == "SHIPPED"


async def test_a_worker_whose_log_nobody_reads_works_and_ends(system: System) -> None:
    worker = _start_unread(system.environment())
    try:
        await eventually(lambda: system.db.workers.count_documents({"connected": True, "intake_limit": {"$gt": 0}}) > 0)
        orders = [f"o-{number}" for number in range(800)]  # their lines are more than a pipe holds
        for order in orders:
            await system.publish_order(order)
        await system.shipped(*orders)
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, 20) == 0
    finally:
        worker.kill()
        worker.communicate()


async def test_health_and_metrics_answer_over_http(system: System) -> None:
    worker = await system.start_worker()
    health = worker.events("worker.started")[0]["health"]
    await system.publish_order("o-1")
    await system.shipped("o-1")
    assert await _get(f"{health}/livez") == (200, "orders.work: ok\norders.dlq: ok\nshipments.delivered: ok\n")
    assert (await _get(f"{health}/readyz"))[0] == 200
    status, page = await _get(f"{health}/metrics")
    assert status == 200
    assert 'logistics_deliveries_total{detail="shipped",outcome="ack",queue="orders.work"} 1.0' in page
    assert 'logistics_circuit_state{state="closed"} 1.0' in page


def _start_unread(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "worker", "worker"]
    return subprocess.Popen(command, env={**os.environ, **environment}, cwd=PROJECT, stderr=subprocess.PIPE)


async def _all_settled(system: System) -> bool:
    return await system.depth("orders.work") == 0 and all(
        sum(len(worker.events(event)) for worker in system.workers for event in ("order.shipped", "order.duplicate"))
        == 50
        for _ in (0,)
    )


async def _get(url: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own health address
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)

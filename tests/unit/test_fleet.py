"""What the workers' reports say to the replay jobs, and where a copy ends."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.mongodb.store import MongoStore
from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.topology import queue_of
from worker.domain.control_ports import SeenWorker
from worker.fleet import Fleet

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Reports(MongoWorkerReports):
    """The workers' reports, in memory."""

    def __init__(self, *reports: dict[str, Any]) -> None:
        super().__init__(MongoStore("mongodb://127.0.0.1:1/"))
        self._reports = reports

    async def all(self) -> list[dict[str, Any]]:
        return list(self._reports)


def a_report(*, age: float = 1.0, **fields: Any) -> dict[str, Any]:
    made = {
        "name": "w-1",
        "seen_at": NOW - timedelta(seconds=age),
        "circuit": "closed",
        "circuit_retry_after": 0.0,
        "in_flight": {"orders.work": 0},
    }
    return {**made, **fields}


async def why_open(*reports: dict[str, Any]) -> str | None:
    return await Fleet(Reports(*reports), clock=lambda: NOW).why_open()


OPEN: dict[str, Any] = {"circuit": "open", "circuit_retry_after": 8.0}


async def test_one_open_circuit_is_enough_and_is_named_with_its_last_failure() -> None:
    why = await why_open(a_report(), a_report(name="w-2", last_failure="HTTP 503", **OPEN))
    assert why == "the circuit to the supplier is open at worker w-2: HTTP 503"
    assert await why_open(a_report(name="w-2", **OPEN)) == "the circuit to the supplier is open at worker w-2"


async def test_a_circuit_that_is_held_open_by_hand_is_open_whatever_its_countdown_says() -> None:
    held = {"circuit_held_open": "circuit opened by hand by ann: audit"}
    report = a_report(circuit="open", circuit_retry_after=0.5, last_failure="HTTP 503", control=held)
    assert await why_open(report) == (
        "the circuit to the supplier is open at worker w-1: circuit opened by hand by ann: audit"
    )


async def test_the_workers_that_take_orders_are_told_with_what_they_have_carried_out() -> None:
    reports = Reports(
        a_report(control={"revision": 7}),
        a_report(name="old-version"),
        a_report(name="lost", age=60.0),
        a_report(name="stopped", stopped=True),
        a_report(name="files", in_flight={"orders.dlq": 0}),
    )
    assert await Fleet(reports, clock=lambda: NOW).taking_orders() == [
        SeenWorker("w-1", is_live=True, has_stopped=False, carried_out=7),
        SeenWorker("old-version", is_live=True, has_stopped=False, carried_out=0),
        SeenWorker("lost", is_live=False, has_stopped=False, carried_out=0),
        SeenWorker("stopped", is_live=False, has_stopped=True, carried_out=0),
    ]


@pytest.mark.parametrize(
    "report",
    [
        a_report(),
        a_report(circuit="half_open"),
        a_report(circuit="open", circuit_retry_after=0.5),  # a second ago: it may be tried, a copy will do
        a_report(age=60.0, circuit="open", circuit_retry_after=600.0),  # lost
        a_report(stopped=True, **OPEN),
        a_report(in_flight={"orders.dlq": 0}, **OPEN),  # asks no supplier
    ],
)
async def test_a_circuit_that_keeps_no_copy_from_the_supplier_counts_as_closed(report: dict[str, Any]) -> None:
    assert await why_open(report) is None


async def test_without_workers_no_circuit_is_open() -> None:
    assert await why_open() is None


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        ("orders", "order.placed", "orders.work"),
        ("orders", "order", "orders.work"),
        ("orders", "order.placed.eu.north", "orders.work"),
        ("orders", "orders.placed", None),
        ("orders", "", None),
        ("shipments", "shipment.delivered", "shipments.delivered"),
        ("shipments", "shipment.lost", None),
        ("", "orders.work", "orders.work"),
        ("orders.retry", "1s", None),
        ("somebody's", "order.placed", None),
    ],
)
def test_a_message_s_queue_is_known_where_it_is_one_of_ours(exchange: str, key: str, queue: str | None) -> None:
    assert queue_of(exchange, key) == queue

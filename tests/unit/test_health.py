"""The worker's health, over real HTTP."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from infra.telemetry.health import HealthServer
from infra.telemetry.metrics import WorkerMetrics
from infra.telemetry.worker_state import WorkerState
from tests.support.metric_names import AT_REST
from worker.domain.delivery import Delivery
from worker.domain.errors import ConfigurationError
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Retry


class Room:
    """A health server, and what its checks find."""

    def __init__(self) -> None:
        self.live: dict[str, str | None] = {"orders": None}
        self.ready: dict[str, str | None] = {"broker": None, "store": None}
        self.circuit = "closed"
        self.is_paused = False
        self.metrics = WorkerMetrics(version="1.2.3", look=self._look)
        self.server = HealthServer(live=self._live, ready=self._ready, metrics=self._page)
        self.port = 0

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as response,
        ):
            return response.status, await response.text()

    def _look(self) -> WorkerState:
        return replace(AT_REST, circuit=self.circuit, paused=self.is_paused, in_flight={"orders.work": 7})

    async def _live(self) -> dict[str, str | None]:
        return self.live

    async def _page(self) -> bytes:
        return self.metrics.render(self.live, self.ready)

    async def _ready(self) -> dict[str, str | None]:
        return self.ready


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    room.port = await room.server.start("127.0.0.1", 0)
    yield room
    await room.server.stop()


async def test_what_is_well_answers_200(room: Room) -> None:
    assert await room.get("/livez") == (200, "orders: ok\n")
    assert await room.get("/readyz") == (200, "broker: ok\nstore: ok\n")


async def test_what_is_not_ready_answers_503_and_says_why(room: Room) -> None:
    room.ready["store"] = "MongoDB does not answer"
    assert await room.get("/readyz") == (503, "broker: ok\nstore: MongoDB does not answer\n")
    assert (await room.get("/livez"))[0] == 200
    room.ready["store"] = None
    assert (await room.get("/readyz"))[0] == 200


async def test_what_is_not_live_answers_503_and_says_why(room: Room) -> None:
    room.live["orders"] = "sits deaf"
    assert await room.get("/livez") == (503, "orders: sits deaf\n")


async def test_other_pages_are_not_there(room: Room) -> None:
    assert (await room.get("/"))[0] == 404


async def test_the_metrics_count_outcomes_by_queue_and_detail(room: Room) -> None:
    settled = room.metrics.watch("orders.work")
    error = ValueError("x")
    for outcome in (
        Ack("shipped"),
        Ack("shipped"),
        Retry("5s", error, 0),
        Defer("30s", error, 0),
        DeadLetter(DeadLetterReason.EXPIRED, error),
    ):
        settled(Delivery(b"{}"), outcome, 0.1, 0.2)
    room.circuit = "open"
    room.ready["store"] = "MongoDB does not answer"
    status, page = await room.get("/metrics")
    assert status == 200
    for line in (
        'logistics_deliveries_total{detail="shipped",outcome="ack",queue="orders.work"} 2.0',
        'logistics_deliveries_total{detail="5s",outcome="retry",queue="orders.work"} 1.0',
        'logistics_deliveries_total{detail="expired",outcome="dead_letter",queue="orders.work"} 1.0',
        'logistics_retries_total{delay="30s",kind="defer",queue="orders.work"} 1.0',
        'logistics_delivery_duration_seconds_bucket{le="0.25",queue="orders.work"} 5.0',
        'logistics_in_flight{queue="orders.work"} 7.0',
        'logistics_circuit_state{state="open"} 1.0',
        'logistics_circuit_state{state="closed"} 0.0',
        'logistics_worker_info{version="1.2.3"} 1.0',
        "logistics_paused 0.0",
        'logistics_live{check="orders"} 1.0',
        'logistics_ready{check="store"} 0.0',
    ):
        assert line in page.splitlines()
    room.is_paused = True
    assert "logistics_paused 1.0" in (await room.get("/metrics"))[1].splitlines()


async def test_an_address_that_is_taken_is_named_with_what_to_do(room: Room) -> None:
    with pytest.raises(ConfigurationError, match=f"LOGISTICS_HEALTH_ADDR.*127.0.0.1:{room.port}.*port 0"):
        await Room().server.start("127.0.0.1", room.port)


async def test_a_server_that_was_never_started_can_be_stopped() -> None:
    await Room().server.stop()

"""What `ISupplierAPI` promises, checked on the fake and on HTTP against the simulator alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import pytest

from infra.local.ports import free_ports
from infra.supplier.breaker import CircuitBreaker
from infra.supplier.client import HttpSupplier
from infra.supplier.simulator import SupplierSimulator
from tests.support.fake_ports import Answer, FakeSupplier
from worker.domain.errors import (
    CircuitBreakerOpenException,
    SupplierError,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
    SupplierUnavailableError,
)
from worker.domain.ports import ISupplierAPI
from worker.domain.shipment import Shipment
from worker.domain.trace import TraceContext, trace_scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TIMEOUT = 0.3


@dataclass
class Seen:
    """One request as it reached the supplier."""

    idempotency_key: object
    order_id: object
    trace_id: object
    traceparent: object


class Side(Protocol):
    """A supplier that can be told what to do, and the port to it."""

    port: ISupplierAPI

    async def answers(self, status: int, *, retry_after: int | None = None, as_date: bool = False) -> None: ...
    async def refuses_softly(self) -> None: ...
    async def fails(self, how: str, *, dispatches: bool) -> None: ...
    async def goes_away(self) -> None: ...
    def seen(self) -> list[Seen]: ...
    def dispatches(self) -> int: ...


class FakeSide:
    def __init__(self) -> None:
        self.fake = FakeSupplier()
        self.port: ISupplierAPI = self.fake

    async def answers(self, status: int, *, retry_after: int | None = None, as_date: bool = False) -> None:
        self.fake.otherwise = Answer(status, retry_after=retry_after)

    async def refuses_softly(self) -> None:
        self.fake.otherwise = Answer(200, accepted=False)

    async def fails(self, how: str, *, dispatches: bool) -> None:
        self.fake.otherwise = Answer(lost=how, dispatches=dispatches)

    async def goes_away(self) -> None:
        self.fake.otherwise = Answer(lost="no connection", dispatches=False)

    def seen(self) -> list[Seen]:
        return [Seen(asked.shipment_id, asked.order_id, asked.trace_id, asked.traceparent) for asked in self.fake.asked]

    def dispatches(self) -> int:
        return len(self.fake.dispatched)


class HttpSide:
    def __init__(self, simulator: SupplierSimulator, client: HttpSupplier) -> None:
        self.simulator = simulator
        self.port: ISupplierAPI = client

    async def answers(self, status: int, *, retry_after: int | None = None, as_date: bool = False) -> None:
        rule = {"match": "*", "status": status}
        self._is_now(rules=[rule], retry_after=retry_after, retry_after_as_date=as_date)

    async def refuses_softly(self) -> None:
        self._is_now(rules=[{"match": "*", "refuse_softly": True}])

    async def fails(self, how: str, *, dispatches: bool) -> None:
        # An answer that is cut comes after the dispatch, always.
        also = {} if how == "cut" else {f"dispatch_before_{how}": dispatches}
        self._is_now(**{f"{how}_rate": 1.0}, **also)

    async def goes_away(self) -> None:
        await self.simulator.stop()

    def seen(self) -> list[Seen]:
        names = ("idempotency_key", "order_id", "trace_id", "traceparent")
        return [Seen(*(request[name] for name in names)) for request in self.simulator.requests()]

    def dispatches(self) -> int:
        assert self.simulator.stats()["contract_breaches"] == 0
        return int(str(self.simulator.stats()["dispatches"]))

    def _is_now(self, **settings: object) -> None:
        self.simulator.change(**{"rules": [], "timeout_rate": 0, "reset_rate": 0, "cut_rate": 0, **settings})


@pytest.fixture(params=["fake", "http"])
async def side(request: pytest.FixtureRequest, supplier: SupplierSimulator) -> AsyncIterator[Side]:
    if request.param == "fake":
        yield FakeSide()
        return
    circuit = CircuitBreaker(failure_threshold=1000, recovery_timeout=1.0)
    client = HttpSupplier(supplier.url, circuit=circuit, timeout=TIMEOUT, connections=20)
    yield HttpSide(supplier, client)
    await client.close()


def a_shipment(order_id: str = "A-1", *, destination: str = "Oslo", trace_id: str = "trace-1") -> Shipment:
    return Shipment.for_order(order_id, destination, trace_id=trace_id, now=NOW)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_is_a_yes(side: Side, status: int) -> None:
    await side.answers(status)
    assert await side.port.request_dispatch(a_shipment()) is True
    assert side.dispatches() == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 451])
async def test_any_other_4xx_is_a_final_no(side: Side, status: int) -> None:
    await side.answers(status)
    with pytest.raises(SupplierRejectedError, match=str(status)):
        await side.port.request_dispatch(a_shipment())


async def test_a_2xx_that_says_not_accepted_is_a_final_no(side: Side) -> None:
    await side.refuses_softly()
    with pytest.raises(SupplierRejectedError):
        await side.port.request_dispatch(a_shipment())
    assert side.dispatches() == 0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
async def test_not_now_carries_how_long_to_wait(side: Side, status: int, *, as_date: bool) -> None:
    await side.answers(status, retry_after=7, as_date=as_date)
    with pytest.raises(SupplierUnavailableError) as caught:
        await side.port.request_dispatch(a_shipment())
    assert caught.value.retry_after is not None
    assert 6.5 < caught.value.retry_after <= 8.0


@pytest.mark.parametrize("status", [429, 503])
async def test_not_now_without_a_time_leaves_it_to_us(side: Side, status: int) -> None:
    await side.answers(status)
    with pytest.raises(SupplierUnavailableError) as caught:
        await side.port.request_dispatch(a_shipment())
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [408, 425, 500, 501, 502, 504, 507, 302])
async def test_every_other_answer_leaves_the_outcome_unknown(side: Side, status: int) -> None:
    await side.answers(status)
    with pytest.raises(SupplierOutcomeUnknownError, match=str(status)):
        await side.port.request_dispatch(a_shipment())


@pytest.mark.parametrize("how", ["timeout", "reset", "cut"])
async def test_a_dispatch_whose_answer_is_lost_is_unknown_and_asking_again_is_no_second_one(
    side: Side, how: str
) -> None:
    await side.fails(how, dispatches=True)
    with pytest.raises(SupplierOutcomeUnknownError):
        await side.port.request_dispatch(a_shipment())
    assert side.dispatches() == 1
    await side.answers(200)
    assert await side.port.request_dispatch(a_shipment()) is True
    assert side.dispatches() == 1
    assert len(side.seen()) == 2


@pytest.mark.parametrize("how", ["timeout", "reset"])
async def test_a_lost_request_is_unknown_too(side: Side, how: str) -> None:
    await side.fails(how, dispatches=False)
    with pytest.raises(SupplierOutcomeUnknownError):
        await side.port.request_dispatch(a_shipment())
    assert side.dispatches() == 0


async def test_a_supplier_that_is_away_is_unknown(side: Side) -> None:
    await side.goes_away()
    with pytest.raises(SupplierOutcomeUnknownError):
        await side.port.request_dispatch(a_shipment())


async def test_the_shipment_id_is_the_idempotency_key_of_every_request(side: Side) -> None:
    shipment = a_shipment("Ø-1 🚚", destination="Þórshöfn\u2028")
    for _ in range(3):
        await side.port.request_dispatch(shipment)
    assert {(seen.idempotency_key, seen.order_id) for seen in side.seen()} == {(shipment.id, "Ø-1 🚚")}
    assert side.dispatches() == 1


@pytest.mark.parametrize("trace_id", ["trace-1", "4bf92f3577b34da6a3ce929d0e0e4736", "zürich-追跡-🚚", "a b", "'\"%"])
async def test_the_order_s_trace_travels_with_the_request(side: Side, trace_id: str) -> None:
    trace = TraceContext.from_headers({"trace_id": trace_id}, seed="A-1")
    with trace_scope(trace.trace_id, trace):
        await side.port.request_dispatch(a_shipment(trace_id="the shipment's older one"))
        await side.port.request_dispatch(a_shipment())
    assert {seen.trace_id for seen in side.seen()} == {trace_id}
    parents = [str(seen.traceparent).split("-") for seen in side.seen()]
    assert {parent[1] for parent in parents} == {trace.traceparent.split("-")[1]}
    assert len({parent[2] for parent in parents} | {trace.traceparent.split("-")[2]}) == 3  # one of its own each


async def test_outside_an_order_s_task_the_shipment_s_trace_is_used(side: Side) -> None:
    await side.port.request_dispatch(a_shipment(trace_id="trace-9"))
    assert side.seen()[0].trace_id == "trace-9"


async def test_many_requests_at_once_are_kept_apart(side: Side) -> None:
    shipments = [a_shipment(f"A-{number}") for number in range(40)]
    assert all(await asyncio.gather(*(side.port.request_dispatch(shipment) for shipment in shipments)))
    assert {seen.idempotency_key for seen in side.seen()} == {shipment.id for shipment in shipments}


async def test_nothing_listens_on_a_free_port_and_that_is_unknown_too() -> None:
    circuit = CircuitBreaker(failure_threshold=1000, recovery_timeout=1.0)
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    client = HttpSupplier(url, circuit=circuit, timeout=TIMEOUT, connections=1)
    with pytest.raises(SupplierOutcomeUnknownError, match="no connection"):
        await client.request_dispatch(a_shipment())
    await client.close()


@pytest.mark.parametrize(
    ("status", "answer"), [(200, "accepted"), (422, "refused"), (503, "unavailable"), (500, "unknown")]
)
async def test_what_each_request_came_to_is_told_with_its_time(
    supplier: SupplierSimulator, status: int, answer: str
) -> None:
    told: list[tuple[str, float]] = []
    circuit = CircuitBreaker(failure_threshold=1, recovery_timeout=60.0)
    client = HttpSupplier(
        supplier.url, circuit=circuit, timeout=5.0, connections=1, on_answer=lambda *what: told.append(what)
    )
    supplier.change(rules=[{"match": "*", "status": status}])
    for _ in range(2):
        with suppress(SupplierError, CircuitBreakerOpenException):
            await client.request_dispatch(a_shipment())
    await client.close()
    is_open = circuit.state == "open"  # what the circuit refuses is no request
    assert [name for name, _ in told] == [answer] * (1 if is_open else 2)
    assert all(0 < seconds < 5 for _, seconds in told)

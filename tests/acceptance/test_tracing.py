"""Spans of real processes, from the publisher through the worker to the supplier, as a collector gets them."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.local.ports import free_ports
from tests.support.collector import Collector, SeenSpan, running_collector
from tests.support.command import replay_everything, run
from tests.support.console import console_here
from tests.support.system import System, eventually

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WORK, FILING, REQUEST = "process orders.work", "process orders.dlq", "POST"


@pytest.fixture
async def collector(system: System) -> AsyncIterator[Collector]:
    async with running_collector() as collector:
        system.settings["LOGISTICS_OTLP_ENDPOINT"] = collector.endpoint
        yield collector


def parents(spans: list[SeenSpan]) -> list[str]:
    return [span.parent for span in spans]


async def test_one_trace_goes_from_the_publisher_to_the_supplier_and_one_not_sampled_is_recorded_nowhere(
    system: System, collector: Collector
) -> None:
    worker = await system.start_worker()
    await system.publish_order("quiet", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    published = await run(system.environment(), "publish", "--order-id", "A-1", "--destination", "Oslo", "--json")
    await system.shipped("A-1", "quiet")
    assert await worker.terminate() == 0  # the last spans go out with the drain
    [publish], [process], [request] = (collector.named(name) for name in ("publish orders:order.placed", WORK, REQUEST))
    assert (publish.parent, process.parent, request.parent) == ("", publish.span_id, process.span_id)
    assert (publish.service, process.service) == ("logistics-publish", "logistics-worker")
    assert {span.trace_id for span in collector.spans} == {publish.trace_id}
    assert published.document["traceparent"] == f"00-{publish.trace_id}-{publish.span_id}-01"
    [seen] = system.supplier.requests("A-1")
    assert seen["traceparent"] == f"00-{request.trace_id}-{request.span_id}-01"
    assert request.attributes["http.response.status_code"] == 201
    assert not any(span.is_error or span.links for span in collector.spans)
    version, trace, parent, flags = str(system.supplier.requests("quiet")[0]["traceparent"]).split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")
    assert parent != PARENT


async def test_each_retry_and_replay_is_linked_to_the_one_before_and_only_the_end_is_an_error(
    system: System, collector: Collector
) -> None:
    system.settings["LOGISTICS_RETRY_DELAYS"] = "200ms"
    system.supplier.change(rules=[{"match": "*", "fail_first": 1, "refuse": True}])
    worker = await system.start_worker()
    await system.publish_order(
        "A-1",
        headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "shop=1", "baggage": "user=ben,tier=gold;p"},
    )
    await eventually(lambda: system.letters(state="open"))
    system.supplier.change(rules=[])
    await replay_everything(system.environment())
    await system.shipped("A-1")
    assert await worker.terminate() == 0
    first, second, third = collector.named(WORK)
    [retry], [dead], [filed], [replayed] = (
        collector.named(name)
        for name in ("publish orders.retry:200ms", "publish orders.dead-letter", FILING, "publish orders:order.placed")
    )
    assert [span.links for span in (first, second, filed, replayed, third)] == [
        [],
        [retry.span_id],
        [dead.span_id],
        [dead.span_id],
        [replayed.span_id],
    ]
    assert set(parents([first, second, third, filed, replayed])) == {PARENT}
    assert (retry.parent, dead.parent) == (first.span_id, second.span_id)
    assert parents(collector.named(REQUEST)) == [first.span_id, second.span_id, third.span_id]
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert [span.name for span in sorted(collector.spans, key=lambda span: span.began) if span.is_error] == [
        WORK,
        REQUEST,
    ]
    assert second.is_error
    assert [span.attributes["logistics.attempt"] for span in (first, second, third)] == [1, 2, 1]
    [letter] = system.letters()
    assert letter["headers"]["baggage"] == "user=ben,tier=gold;p"
    assert letter["headers"]["traceparent"] == f"00-{TRACE}-{PARENT}-01"


async def test_the_copy_of_an_edit_is_linked_to_what_dead_lettered_the_order_and_its_delivery_to_the_copy(
    system: System, collector: Collector
) -> None:
    system.supplier.change(rules=[{"match": "*", "refuse": True}])
    worker = await system.start_worker()
    for order in ("by-console", "by-command"):
        await system.publish_order(order)
    await eventually(lambda: len(system.letters(state="open")) == 2)
    system.supplier.change(rules=[])
    [first], [second] = (system.letters(order_id=order) for order in ("by-console", "by-command"))
    async with console_here(system.environment()) as console, console.caller() as person:
        edit = {"revision": first["revision"], "fields": {"destination": "Bergen"}, "why": "moved"}
        sent = await person.post(f"/api/dead-letters/{first['_id']}/edit", json=edit)
        assert sent.json()["result"] == "sent", sent.text
    edit_it = ("dead-letters", "edit", second["_id"], "--set", "destination=Bergen", "--why", "moved", "--yes")
    assert (await run(system.environment(), *edit_it)).code == 0
    await system.shipped("by-console", "by-command")
    assert await worker.terminate() == 0
    copies = collector.named("publish orders:order.placed")
    assert [copy.service for copy in copies] == ["logistics-console", "logistics-edit"]
    dead = {span.trace_id: span.span_id for span in collector.named("publish orders.dead-letter")}
    assert [copy.links for copy in copies] == [[dead[copy.trace_id]] for copy in copies]
    shipped = {span.trace_id: span for span in collector.named(WORK) if not span.is_error}
    assert [shipped[copy.trace_id].links for copy in copies] == [[copy.span_id] for copy in copies]


@pytest.mark.parametrize("how", ["nobody listens", "it never answers"])
async def test_a_collector_that_is_away_keeps_nobody(system: System, collector: Collector, how: str) -> None:
    collector.is_silent = True
    if how == "nobody listens":
        system.settings["LOGISTICS_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_ports(1)[0]}"
    worker = await system.start_worker(OTEL_BSP_SCHEDULE_DELAY="100")
    orders = [f"o-{number}" for number in range(50)]
    for order in orders:
        await system.publish_order(order)
    await system.shipped(*orders)
    assert [line for line in worker.lines() if line["level"] == "ERROR"] == []
    began = time.monotonic()
    assert await worker.terminate() == 0
    assert time.monotonic() - began < 8
    assert 1 <= len(worker.events("spans.lost")) <= 2
    assert system.supplier.stats()["dispatches"] == 50


async def test_without_the_extra_an_endpoint_is_a_wrong_setting(system: System, tmp_path: Path) -> None:
    package = tmp_path / "opentelemetry"
    package.mkdir()
    package.joinpath("__init__.py").write_text("raise ModuleNotFoundError(name='opentelemetry')\n")
    environment = system.environment(LOGISTICS_OTLP_ENDPOINT="http://127.0.0.1:4318", PYTHONPATH=str(tmp_path))
    ran = await run(environment, "worker")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == (
        "logistics: LOGISTICS_OTLP_ENDPOINT is set, but OpenTelemetry is not installed (opentelemetry is missing): "
        "install 'logistics[otel]', or unset it"
    )

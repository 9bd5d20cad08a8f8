"""An overview as a page of metrics: what no single worker knows. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from infra.telemetry.families import Families, build_info, by, one, state
from infra.telemetry.worker_state import CIRCUIT_STATES
from worker.domain.outcome import DeadLetterReason
from worker.domain.replay_job import CANCELLABLE
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import ShipmentStatus

_SERVERS = ("RabbitMQ", "MongoDB")

Look = Mapping[str, Any]
"""An overview as plain values: the fields of `worker.overview_picture.Overview`, by name."""


def render_overview(look: Look, *, version: str) -> bytes:
    """Return the page. What could not be asked is absent, and `logistics_server_reachable` says 0.

    No label holds what a message or a person wrote: every set of values is known beforehand, or set by configuration.
    """
    registry = CollectorRegistry()
    registry.register(Families([build_info(version), *_families(look)]))
    return generate_latest(registry)


def samples_of(page: bytes) -> list[dict[str, Any]]:
    """Return the samples of a page, for programs that do not read its format."""
    return [
        {"name": sample.name, "labels": sample.labels, "value": sample.value}
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    ]


def _families(look: Look) -> Iterator[Metric]:
    taken_at: datetime = look["taken_at"]
    yield one("logistics_overview_timestamp_seconds", "When this was looked at, since 1970.", taken_at.timestamp())
    reachable = {name.lower(): float(name not in look["unreachable"]) for name in _SERVERS}
    yield by("server", "logistics_server_reachable", "1 when the server answered.", reachable)
    yield from _queues(look["queues"])
    yield _delayed({"order": look["delayed"], "notice": look["delayed_notices"]})
    if look["workers"] is not None:
        yield from _workers(look["workers"])
    yield from _stored(look)
    yield from _oldest(look["oldest_waiting"])
    yield from _replay(look["replay_job"], taken_at)


def _queues(queues: Sequence[Look]) -> Iterator[Metric]:
    for field, name, text in (
        ("exists", "logistics_queue_exists", "1 for a queue that exists."),
        ("ready", "logistics_queue_ready", "Messages waiting in a queue that workers consume."),
        ("unacknowledged", "logistics_queue_in_flight", "Messages that workers say they have in flight."),
        ("consumers", "logistics_queue_consumers", "Consumers on a queue; a worker that pauses takes its own off."),
    ):
        yield by("queue", name, text, {queue["name"]: queue[field] for queue in queues})


def _delayed(delayed: Mapping[str, Mapping[str, int | None] | None]) -> Metric:
    family = GaugeMetricFamily(
        "logistics_delayed", "Messages waiting in a delay queue, by kind and delay.", labels=["kind", "delay"]
    )
    for kind, numbers in delayed.items():
        for delay, number in (numbers or {}).items():
            if number is not None:
                family.add_metric([kind, delay], number)
    return family


def _workers(workers: Sequence[Look]) -> Iterator[Metric]:
    live = [worker for worker in workers if not worker["lost"]]
    circuits = {circuit: sum(worker["circuit"] == circuit for worker in live) for circuit in CIRCUIT_STATES}
    yield by("circuit", "logistics_workers", "Workers that report, by the state of their circuit.", circuits)
    yield one(
        "logistics_workers_paused",
        "Workers that report, and whose taking of orders is paused by hand.",
        sum(worker["paused"] for worker in live),
    )
    yield one(
        "logistics_workers_disconnected",
        "Workers that report, but are not connected to RabbitMQ.",
        sum(not worker["connected"] for worker in live),
    )
    yield one(
        "logistics_workers_lost", "Workers not heard of for 15 s; forgotten after an hour.", len(workers) - len(live)
    )


def _stored(look: Look) -> Iterator[Metric]:
    for field, label, known, name, text in (
        ("shipments", "status", ShipmentStatus, "logistics_shipments", "Shipments in the store."),
        ("dead_letters", "state", DeadLetterState, "logistics_dead_letters", "Dead letters in the store."),
        ("open_dead_letters", "reason", DeadLetterReason, "logistics_dead_letters_open", "Open dead letters."),
    ):
        if look[field] is not None:
            yield by(label, name, text, {str(value): look[field].get(str(value), 0) for value in known})


def _oldest(oldest: Look) -> Iterator[Metric]:
    age = 0.0 if oldest["waiting"] is False else oldest["at_most"]
    if age is not None:
        yield one("logistics_oldest_waiting_order_age_seconds", "No order in orders.work has waited for longer.", age)


def _replay(job: Look | None, now: datetime) -> Iterator[Metric]:
    yield state(
        "logistics_replay_job_state",
        "1 for the state of the newest replay job, unless that is over.",
        sorted(CANCELLABLE),
        None if job is None else job["state"],
    )
    if job is None:
        return
    for field, name, text in (
        ("created_at", "logistics_replay_job_age_seconds", "Since that job was started."),
        ("state_since", "logistics_replay_job_state_age_seconds", "Since that job came into its state."),
    ):
        yield one(name, text, max((now - job[field]).total_seconds(), 0.0))

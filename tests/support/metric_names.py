"""Which metrics the program exports, and which ones an expression asks for."""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache

from prometheus_client.parser import text_string_to_metric_families

from infra.rabbitmq.depths import QueueLook
from infra.telemetry.merged_metrics import ProcessState, merged_page
from infra.telemetry.metrics import WorkerMetrics
from infra.telemetry.overview_metrics import render_overview
from infra.telemetry.worker_state import WorkerState
from worker.domain.delivery import Delivery
from worker.domain.errors import StoreUnavailableError
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Retry
from worker.overview_picture import ReplayView, StoreLook, assemble

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT_REST = WorkerState(
    circuit="closed",
    circuit_open_for=0.0,
    circuit_retry_after=0.0,
    circuit_openings=0,
    intake_limit=100,
    paused=False,
    prefetch=100,
    backlog_age=None,
    in_flight={"orders.work": 0},
    held={"orders.work": 0},
    replay_held=False,
)
_QUEUES = ("orders.work", "shipments.delivered", "orders.dlq", "orders.retry.5s", "shipments.retry.5s")
_ASKED = re.compile(r"\b((?:logistics|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')


def worker_page() -> bytes:
    """The page of a worker to which everything has happened once."""
    metrics, error = WorkerMetrics(version="1.2.3", look=lambda: AT_REST), ValueError("x")
    settled = metrics.watch("orders.work")
    for outcome in (
        Ack("shipped"),
        Retry("5s", error, 0),
        Defer("5s", StoreUnavailableError("away"), 0),
        DeadLetter(DeadLetterReason.EXPIRED, error),
    ):
        settled(Delivery(b"{}", published_at=NOW), outcome, 0.1, 0.2)
    return metrics.render({"orders.work": None}, {"orders.work": None, "store": None})


def overview_page() -> bytes:
    """The page of an overview in which nothing is missing."""
    report = {"name": "w-1", "seen_at": NOW, "circuit": "closed", "connected": True, "waiting_since": NOW}
    job = ReplayView("0f3a", "ramp", "anna", "fixed", None, NOW, NOW)
    store = StoreLook([report], {"SHIPPED": 7}, {"malformed": 2}, {"open": 2}, job)
    looks = {name: QueueLook(ready=1, consumers=1) for name in _QUEUES}
    return render_overview(asdict(assemble(looks, store, delays=["5s"], now=NOW)), version="1.2.3")


def supervisor_page() -> bytes:
    """The page of two processes under a supervisor, one of which is away."""
    return merged_page({1: ProcessState(0, worker_page().decode()), 2: ProcessState(1, None)})


@cache
def exported() -> dict[str, set[str]]:
    """The names of every series, and which labels it has."""
    found: dict[str, set[str]] = {}
    for page in (worker_page(), supervisor_page(), overview_page()):
        for family in text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def unknown_in(expression: str) -> list[str]:
    """The metrics and labels of ours that an expression asks for and nobody exports."""
    known = exported()
    complaints = []
    for name, matchers in _ASKED.findall(expression):
        if name not in known:
            complaints.append(name)
            continue
        labels = set(_MATCHER.findall(matchers)) - {"job", "instance"}
        complaints += [f"{name}{{{label}}}" for label in sorted(labels - known[name])]
    return complaints

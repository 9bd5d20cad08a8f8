"""What a worker is like at this moment, and how that reads as gauges."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, Metric

from infra.telemetry.families import by, one, state

CIRCUIT_STATES = ("closed", "half_open", "open")


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One look at a worker. Durations in seconds."""

    circuit: str
    circuit_open_for: float
    """Since it left `closed`; 0 while it is closed."""
    circuit_retry_after: float
    circuit_openings: int
    """Times it has left `closed`."""
    intake_limit: int
    paused: bool
    """By hand."""
    prefetch: int
    backlog_age: float | None
    """No waiting order is older, as far as this worker knows; None when it knows nothing."""
    in_flight: Mapping[str, int]
    """By queue."""
    held: Mapping[str, int]
    """By queue: handled, but the broker does not take what must go out."""
    replay_held: bool
    """Whether this worker moves a replay job on."""


class StateCollector:
    """Looks at the worker when the metrics page is asked for."""

    def __init__(self, look: Callable[[], WorkerState]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        worker = self._look()
        yield from _circuit(worker)
        yield one(
            "logistics_intake_limit", "Orders that may be in flight now; 0 while intake is paused.", worker.intake_limit
        )
        yield one("logistics_paused", "1 while taking orders is paused by hand.", float(worker.paused))
        yield one("logistics_prefetch", "The intake limit when all is well.", worker.prefetch)
        yield one(
            "logistics_backlog_age_seconds",
            "No order waiting in orders.work is older, as far as this worker knows; the smallest of all counts.",
            math.nan if worker.backlog_age is None else worker.backlog_age,
        )
        yield by("queue", "logistics_in_flight", "Deliveries taken and not settled.", worker.in_flight)
        yield by("queue", "logistics_held", "Deliveries held: the broker does not take what must go out.", worker.held)
        yield one("logistics_replay_job_held", "1 while this worker moves a replay job on.", float(worker.replay_held))


def _circuit(worker: WorkerState) -> Iterator[Metric]:
    yield state(
        "logistics_circuit_state", "1 for the state the supplier's circuit is in.", CIRCUIT_STATES, worker.circuit
    )
    yield one(
        "logistics_circuit_open_seconds",
        "How long ago the circuit left the state closed; 0 while it is closed.",
        worker.circuit_open_for,
    )
    yield one(
        "logistics_circuit_retry_after_seconds",
        "Until the open circuit may be tried; 0 when it may be now.",
        worker.circuit_retry_after,
    )
    yield CounterMetricFamily(
        "logistics_circuit_openings", "Times the circuit has left the state closed.", value=worker.circuit_openings
    )

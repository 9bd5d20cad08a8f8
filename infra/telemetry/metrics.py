"""The worker's metrics, in Prometheus format."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from worker.domain.delivery import Delivery
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_CIRCUIT_STATES = ("closed", "half_open", "open")


class WorkerMetrics:
    """Counts what a worker does. The names are listed in docs/runbook.md."""

    def __init__(
        self,
        *,
        version: str,
        circuit_state: Callable[[], str],
        in_flight: Callable[[str], int],
        paused: Callable[[], bool],
    ) -> None:
        self._registry = CollectorRegistry()
        self._outcomes = Counter(
            "logistics_deliveries",
            "Deliveries settled, by queue, outcome and detail (the note, the delay or the dead-letter reason).",
            ["queue", "outcome", "detail"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "logistics_delivery_duration_seconds",
            "From taking a delivery to its settlement.",
            ["queue"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._retries = Counter(
            "logistics_retries", "Messages sent to a delay queue.", ["queue", "delay", "kind"], registry=self._registry
        )
        self._in_flight = Gauge(
            "logistics_in_flight", "Deliveries taken and not settled.", ["queue"], registry=self._registry
        )
        self._read_in_flight = in_flight
        circuit = Gauge(
            "logistics_circuit_state",
            "1 for the state the supplier's circuit is in.",
            ["state"],
            registry=self._registry,
        )
        for state in _CIRCUIT_STATES:
            circuit.labels(state).set_function(partial(_is, circuit_state, state))
        Gauge("logistics_paused", "1 while taking orders is paused by hand.", registry=self._registry).set_function(
            lambda: float(paused())
        )
        Gauge("logistics_worker_info", "Always 1.", ["version"], registry=self._registry).labels(version).set(1)

    def watch(self, queue: str) -> Callable[[Delivery, Outcome, float], None]:
        """Return the callback that counts the settled deliveries of a queue."""
        self._in_flight.labels(queue).set_function(lambda: float(self._read_in_flight(queue)))
        observe = self._durations.labels(queue).observe

        def settled(delivery: Delivery, outcome: Outcome, seconds: float) -> None:
            del delivery
            observe(seconds)
            kind, detail = _labels(outcome)
            self._outcomes.labels(queue, kind, detail).inc()
            if isinstance(outcome, Retry | Defer) and outcome.queue:
                self._retries.labels(queue, outcome.queue, kind).inc()

        return settled

    def render(self) -> bytes:
        """Return the metrics page."""
        return generate_latest(self._registry)


def _is(current: Callable[[], str], wanted: str) -> float:
    return float(current() == wanted)


def _labels(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Ack(note=note):
            return "ack", note
        case Retry(queue=queue):
            return "retry", queue
        case Defer(queue=queue):
            return "defer", queue
        case DeadLetter(reason=reason):
            return "dead_letter", str(reason)

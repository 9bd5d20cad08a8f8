"""The worker's metrics, in Prometheus format."""

import time
from collections.abc import Callable, Mapping
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from infra.telemetry.families import Families, build_info
from infra.telemetry.worker_state import StateCollector, WorkerState
from worker.domain.counts import published_at
from worker.domain.delivery import Delivery
from worker.domain.errors import CircuitBreakerOpenException, EarlyNoticeError, StoreUnavailableError
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.replay_job import ItemState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SHIPPED_BUCKETS = (1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 86400)
_ATTEMPT_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 10, 20)
_MOST_ATTEMPTS = 1000
_ANSWERS = ("accepted", "refused", "unavailable", "unknown")
_COPIES = (ItemState.SENT, ItemState.IN_DOUBT, ItemState.NOT_SENT)
_SHIPPED = Ack("shipped")
_DONE = (_SHIPPED, Ack("delivered"))


class WorkerMetrics:
    """Counts what a worker does, and shows what it is like. The names are listed in docs/monitoring.md.

    No label holds what a message or a server says: every set of values is known beforehand.
    """

    def __init__(self, *, version: str, look: Callable[[], WorkerState]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series beside each counter, for nobody
        self._registry = CollectorRegistry()
        self._deliveries = self._counter(
            "logistics_deliveries",
            "Deliveries settled, by queue, outcome and detail (the note, the delay or the dead-letter reason).",
            "queue",
            "outcome",
            "detail",
        )
        self._retries = self._counter("logistics_retries", "Messages sent to a delay queue.", "queue", "delay", "kind")
        self._deferrals = self._counter(
            "logistics_deferrals", "Deliveries put off without a try, by cause.", "queue", "cause"
        )
        self._filed = self._counter("logistics_dead_letters_filed", "Dead letters filed in the store.", "reason")
        self._copies = self._counter("logistics_replay_copies", "Copies that replay jobs have sent out.", "result")
        self._durations = self._histogram(
            "logistics_delivery_duration_seconds", "From taking a delivery to its settlement.", "queue"
        )
        self._settling = self._histogram(
            "logistics_settlement_duration_seconds",
            "From the outcome to its settlement: what goes out confirmed, the delivery acknowledged.",
            "queue",
        )
        self._supplier = self._histogram(
            "logistics_supplier_request_duration_seconds", "Requests to the supplier, by what they came to.", "answer"
        )
        self._attempts = self._histogram(
            "logistics_attempts",
            "Tries that messages took to their end: done, or dead-lettered.",
            "queue",
            "outcome",
            buckets=_ATTEMPT_BUCKETS,
        )
        self._to_shipped = self._histogram(
            "logistics_publish_to_shipped_seconds",
            "From publishing an order to its shipment; of a replayed one: from the replay.",
            buckets=_SHIPPED_BUCKETS,
        )
        self._live = self._gauge("logistics_live", "1 when this check of /livez is fine.", "check")
        self._ready = self._gauge("logistics_ready", "1 when this check of /readyz is fine.", "check")
        self._gauge("logistics_worker_info", "Always 1.", "version").labels(version).set(1)
        self._registry.register(Families([build_info(version)]))
        self._registry.register(StateCollector(look))
        ProcessCollector(registry=self._registry)
        self._begin_at_zero()

    def watch(self, queue: str) -> Callable[[Delivery, Outcome, float, float], None]:
        """Return the callback that counts the settled deliveries of a queue.

        It takes the delivery, its outcome, and the seconds from taking it to the outcome and to the settlement.
        """
        deliveries, attempts = cache(self._deliveries.labels), cache(self._attempts.labels)
        observe, observe_settling = self._durations.labels(queue).observe, self._settling.labels(queue).observe

        def settled(delivery: Delivery, outcome: Outcome, handled: float, seconds: float) -> None:
            observe(seconds)
            observe_settling(seconds - handled)
            kind, detail = _labels(outcome)
            deliveries(queue, kind, detail).inc()
            if isinstance(outcome, Retry | Defer) and outcome.queue:
                self._retries.labels(queue, outcome.queue, kind).inc()
            if isinstance(outcome, Defer):
                self._deferrals.labels(queue, _cause(outcome.error)).inc()
            if isinstance(outcome, DeadLetter) or outcome in _DONE:
                attempts(queue, kind).observe(_tries(delivery, outcome))
            if outcome == _SHIPPED and (published := published_at(delivery)) is not None:
                self._to_shipped.observe(max(time.time() - published / 1000, 0.0))

        return settled

    def filed(self, reason: str) -> None:
        """Count a dead letter that was filed."""
        self._filed.labels(reason).inc()

    def supplier_answered(self, answer: str, seconds: float) -> None:
        """Count a request to the supplier: `accepted`, `refused`, `unavailable` or `unknown`."""
        self._supplier.labels(answer).observe(seconds)

    def copy_sent(self, result: ItemState) -> None:
        """Count a copy that a replay job has sent out, or tried to."""
        self._copies.labels(str(result)).inc()

    def render(self, live: Mapping[str, str | None], ready: Mapping[str, str | None]) -> bytes:
        """Return the metrics page; `live` and `ready` say by check what is wrong, None for nothing."""
        for gauge, checks in ((self._live, live), (self._ready, ready)):
            for check, problem in checks.items():
                gauge.labels(check).set(problem is None)
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _BUCKETS) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def _begin_at_zero(self) -> None:
        """A counter that begins with its first event hides that event: its rate is known from the second on."""
        for reason in DeadLetterReason:
            self._filed.labels(str(reason))
        for answer in _ANSWERS:
            self._supplier.labels(answer)
        for result in _COPIES:
            self._copies.labels(str(result))


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


def _cause(error: BaseException | None) -> str:
    match error:
        case None:
            return "early"
        case CircuitBreakerOpenException():
            return "circuit_open"
        case StoreUnavailableError():
            return "store_unavailable"
        case EarlyNoticeError():
            return "not_shipped_yet"
    return "fault"


def _tries(delivery: Delivery, outcome: Outcome) -> int:
    """Return how many tries there were, this one included; a header that makes no sense counts for nothing."""
    if isinstance(outcome, DeadLetter):
        return _count(outcome.headers)
    return _count(delivery.headers) + 1


def _count(headers: Mapping[str, object]) -> int:
    failed = headers.get("attempt")
    return failed if isinstance(failed, int) and 0 <= failed <= _MOST_ATTEMPTS else 0

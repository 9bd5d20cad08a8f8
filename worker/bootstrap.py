"""The one place that wires everything: settings in, a worker ready to run out."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from consumers.dead_letters import DeadLetterConsumer
from consumers.delivered import DeliveredConsumer
from consumers.orders import OrderConsumer
from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.leftovers import MongoLeftovers
from infra.mongodb.samples import MongoSamples
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from infra.mongodb.worker_controls import MongoWorkerControls
from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.depths import QueueDepths
from infra.rabbitmq.publisher import ConfirmedPublisher
from infra.rabbitmq.settlement import RequeueSettlement, Settlement
from infra.rabbitmq.subscriber import ISettlement, Subscriber
from infra.rabbitmq.topology import (
    DEAD_LETTER_QUEUE,
    DELIVERED_QUEUE,
    RETRY_EXCHANGE,
    SHIPMENTS_RETRY_EXCHANGE,
    WORK_QUEUE,
    Topology,
)
from infra.supplier.breaker import CircuitBreaker, CircuitState
from infra.supplier.client import HttpSupplier
from infra.telemetry.metrics import WorkerMetrics
from infra.telemetry.worker_state import WorkerState
from worker.backlog import Backlog
from worker.controlling import Controlling
from worker.domain.controls import MAX_PREFETCH
from worker.domain.core import LogisticsCore, utc_now
from worker.domain.counts import Tally
from worker.domain.delivery import Delivery
from worker.domain.delivery_core import DeliveryCore
from worker.domain.filing import DeadLetterFiling
from worker.domain.log import StructuredLogger
from worker.domain.outcome import Outcome
from worker.identity import program_version, worker_name
from worker.intake import Intake
from worker.overview import overview_on
from worker.parts import CONSUMERS, DEAD_LETTERS, DELIVERED, ORDERS, REPLAYS
from worker.replaying import Replaying
from worker.sampling import Sampler
from worker.settings import Settings
from worker.spans import open_tracing
from worker.suspects import Suspects

_FILED_AT_ONCE = 5
"""Dead letters taken at once, in prefetches: a letter waits for the store alone, and many share each write."""

_log = StructuredLogger("logistics.circuit")


class Worker:
    """A wired worker: every part it has, connected to nothing yet. `worker.lifecycle` runs it."""

    def __init__(self, settings: Settings, *, consumers: Sequence[str] = CONSUMERS) -> None:
        """Wire a worker with these consumers. Raises ConfigurationError for a missing address."""
        self.settings = settings
        self.name = worker_name()
        self.metrics = WorkerMetrics(version=program_version(), look=self._look)
        self._amqp_url = settings.required("amqp_url")
        self.tracing = open_tracing(settings, service="logistics-worker", instance=self.name)
        self._topology = Topology(settings.retry_delays)
        self.publisher = ConfirmedPublisher(self._amqp_url, name=f"{self.name} publish")
        self.depths = QueueDepths(self._amqp_url, name=f"{self.name} depths")
        self.store = MongoStore(
            settings.required("mongodb_uri"), database=settings.mongodb_database, timeout=settings.store_timeout
        )
        self.reports = MongoWorkerReports(self.store)
        self.leftovers = MongoLeftovers(self.store)
        self._shipments = MongoShipments(self.store)
        self._dead_letters = MongoDeadLetters(self.store)
        self.circuit = CircuitBreaker(
            failure_threshold=settings.breaker_failure_threshold,
            recovery_timeout=settings.breaker_recovery_timeout,
            on_change=self._circuit_changed,
        )
        self.supplier = self._make_supplier()
        self.intake = Intake(prefetch=settings.prefetch, circuit=self.circuit, prepare_store=self._prepare_store)
        self.controlling = Controlling(
            controls=MongoWorkerControls(self.store),
            name=self.name,
            intake=self.intake,
            circuit=self.circuit,
            prefetch=settings.prefetch,
        )
        self.filing = DeadLetterFiling(
            dead_letters=self._dead_letters,
            repository=self._shipments,
            worker_name=self.name,
            max_body_bytes=settings.max_body_bytes,
        )
        self.backlog = Backlog()
        self.tally = Tally()
        self.subscribers: list[Subscriber] = []
        self._settlements: dict[str, Settlement] = {}
        self.replaying = Replaying(
            store=self.store,
            amqp_url=self._amqp_url,
            name=self.name,
            store_timeout=settings.store_timeout,
            on_copy=self.metrics.copy_sent,
            tracing=self.tracing,
        )
        self.overview = overview_on(self.store, self.depths, settings)
        self.sampler = Sampler(
            MongoSamples(self.store), self.overview, retention=timedelta(seconds=settings.history_retention)
        )
        self.runs_replays = REPLAYS in consumers
        self.files_dead_letters = DEAD_LETTERS in consumers
        self._subscribe_to(consumers)

    def _make_supplier(self) -> HttpSupplier:
        settings = self.settings
        return HttpSupplier(
            settings.required("supplier_url"),
            circuit=self.circuit,
            timeout=settings.supplier_timeout,
            connections=MAX_PREFETCH,  # the intake keeps to the prefetch, which can be changed by hand
            tls=settings.supplier_tls,
            on_answer=self.metrics.supplier_answered,
            tracing=self.tracing,
        )

    def _subscribe_to(self, consumers: Sequence[str]) -> None:
        prefetch = self.settings.prefetch
        if ORDERS in consumers:
            self.intake.steer_orders(self._subscribe_orders().set_intake_limit)
        if self.files_dead_letters:
            at_once = prefetch * _FILED_AT_ONCE
            self.intake.steer_other(self._subscribe_dead_letters().set_intake_limit, prefetch=at_once)
        if DELIVERED in consumers:
            self.intake.steer_other(self._subscribe_delivered().set_intake_limit, prefetch=prefetch)

    async def _prepare_store(self) -> None:
        """Return when the store can be worked with and what is wished of this worker is carried out."""
        await self.store.prepare()
        await self.controlling.refresh()

    def _subscribe_orders(self) -> Subscriber:
        policy = self.settings.retry_policy
        core = LogisticsCore(
            repository=self._shipments,
            supplier=self.supplier,
            dead_letters=self._dead_letters,
            policy=policy,
            worker_name=self.name,
        )
        consumer = OrderConsumer(core=core, policy=policy, max_body_bytes=self.settings.max_body_bytes)
        in_turn = Suspects().in_turn(consumer.handle)

        async def handle(delivery: Delivery) -> Outcome:
            self.backlog.taken(delivery)
            try:
                return await in_turn(delivery)
            finally:
                self.backlog.done(delivery)

        return self._subscribe(WORK_QUEUE, handle, self._settlement(WORK_QUEUE, RETRY_EXCHANGE))

    def _subscribe_dead_letters(self) -> Subscriber:
        consumer = DeadLetterConsumer(filing=self.filing, on_filed=self.metrics.filed)
        return self._subscribe(DEAD_LETTER_QUEUE, consumer.handle, RequeueSettlement())

    def _subscribe_delivered(self) -> Subscriber:
        policy = self.settings.retry_policy
        core = DeliveryCore(
            repository=self._shipments, dead_letters=self._dead_letters, policy=policy, worker_name=self.name
        )
        consumer = DeliveredConsumer(core=core, policy=policy, max_body_bytes=self.settings.max_body_bytes)
        handle = Suspects().in_turn(consumer.handle)
        return self._subscribe(DELIVERED_QUEUE, handle, self._settlement(DELIVERED_QUEUE, SHIPMENTS_RETRY_EXCHANGE))

    def _settlement(self, queue: str, retry_exchange: str) -> Settlement:
        self._settlements[queue] = Settlement(
            self.publisher,
            retry_exchange=retry_exchange,
            restore_topology=lambda: self._topology.ensure(self._amqp_url),
            tracing=self.tracing,
        )
        return self._settlements[queue]

    def _subscribe(
        self, queue: str, handle: Callable[[Delivery], Awaitable[Outcome]], settlement: ISettlement
    ) -> Subscriber:
        async def watched(delivery: Delivery) -> Outcome:
            outcome = await handle(delivery)
            self.intake.watch(outcome)
            return outcome

        subscriber = Subscriber(
            self._amqp_url,
            queue=queue,
            name=f"{self.name} consume {queue}",
            topology=self._topology,
            handle=watched,
            settlement=settlement,
            on_settled=self._count(queue),
            tracing=self.tracing,
        )
        self.subscribers.append(subscriber)
        return subscriber

    def _count(self, queue: str) -> Callable[[Delivery, Outcome, float, float], None]:
        count = self.metrics.watch(queue)
        if queue != WORK_QUEUE:
            return count

        def count_order(delivery: Delivery, outcome: Outcome, handled: float, seconds: float) -> None:
            count(delivery, outcome, handled, seconds)
            self.tally.settled(delivery, outcome, now=utc_now())

        return count_order

    def _look(self) -> WorkerState:
        return WorkerState(
            circuit=str(self.circuit.state),
            circuit_open_for=self.circuit.open_for,
            circuit_retry_after=self.circuit.retry_after,
            circuit_openings=self.circuit.openings,
            intake_limit=self.intake.limit,
            paused=self.controlling.is_paused,
            prefetch=self.controlling.prefetch,
            backlog_age=self.backlog.age(now=utc_now()),
            in_flight={subscriber.queue: subscriber.in_flight for subscriber in self.subscribers},
            held={queue: settlement.held for queue, settlement in self._settlements.items()},
            replay_held=self.replaying.holds_job,
        )

    def _circuit_changed(self, state: CircuitState) -> None:
        if state is CircuitState.OPEN:
            seconds = round(self.circuit.retry_after, 1)
            _log.warning("circuit.open", seconds=seconds, why=self.circuit.held_open or self.circuit.last_failure)
        else:
            _log.info(f"circuit.{state}")
        self.intake.circuit_changed()

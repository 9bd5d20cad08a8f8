"""The one place that wires everything: settings in, a worker ready to run out."""

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from consumers.dead_letters import DeadLetterConsumer
from consumers.orders import OrderConsumer
from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.depths import QueueDepths
from infra.rabbitmq.publisher import ConfirmedPublisher
from infra.rabbitmq.settlement import RequeueSettlement, Settlement
from infra.rabbitmq.subscriber import ISettlement, Subscriber
from infra.rabbitmq.topology import DEAD_LETTER_QUEUE, WORK_QUEUE, Topology
from infra.supplier.breaker import CircuitBreaker, CircuitState
from infra.supplier.client import HttpSupplier
from infra.telemetry.metrics import WorkerMetrics
from worker.backlog import Backlog
from worker.domain.core import LogisticsCore
from worker.domain.delivery import Delivery
from worker.domain.filing import DeadLetterFiling
from worker.domain.log import StructuredLogger
from worker.domain.outcome import Outcome
from worker.intake import Intake
from worker.settings import Settings

ORDERS = "orders"
DEAD_LETTERS = "dead-letters"
CONSUMERS = (ORDERS, DEAD_LETTERS)

_log = StructuredLogger("logistics.circuit")


@dataclass(frozen=True, slots=True)
class Worker:
    """A wired worker; `worker.lifecycle` runs it."""

    name: str
    settings: Settings
    store: MongoStore
    supplier: HttpSupplier
    circuit: CircuitBreaker
    intake: Intake
    publisher: ConfirmedPublisher
    subscribers: Sequence[Subscriber]
    filing: DeadLetterFiling
    files_dead_letters: bool
    reports: MongoWorkerReports
    metrics: WorkerMetrics
    backlog: Backlog
    depths: QueueDepths


def program_version() -> str:
    """Return this program's version."""
    return version("logistics")


def worker_name() -> str:
    """Return a name for this process that no other worker has."""
    return f"{socket.gethostname()}-{os.getpid()}"


def build_worker(settings: Settings, *, consumers: Sequence[str] = CONSUMERS) -> Worker:
    """Wire a worker with these consumers. Nothing connects yet. Raises ConfigurationError."""
    amqp_url, name = settings.required("amqp_url"), worker_name()
    store = MongoStore(
        settings.required("mongodb_uri"), database=settings.mongodb_database, timeout=settings.store_timeout
    )
    shipments, dead_letters = MongoShipments(store), MongoDeadLetters(store)
    topology, publisher = Topology(settings.retry_delays), ConfirmedPublisher(amqp_url, name=f"{name} publish")

    circuit = CircuitBreaker(
        failure_threshold=settings.breaker_failure_threshold,
        recovery_timeout=settings.breaker_recovery_timeout,
        on_change=lambda state: _circuit_changed(state, circuit, intake),
    )
    intake = Intake(prefetch=settings.prefetch, circuit=circuit, prepare_store=store.ensure_indexes)
    supplier = HttpSupplier(
        settings.required("supplier_url"),
        circuit=circuit,
        timeout=settings.supplier_timeout,
        connections=settings.prefetch,
    )
    policy = settings.retry_policy
    core = LogisticsCore(
        repository=shipments, supplier=supplier, dead_letters=dead_letters, policy=policy, worker_name=name
    )
    filing = DeadLetterFiling(
        dead_letters=dead_letters, repository=shipments, worker_name=name, max_body_bytes=settings.max_body_bytes
    )

    backlog = Backlog()
    subscribers: list[Subscriber] = []
    metrics = WorkerMetrics(
        version=program_version(),
        circuit_state=lambda: str(circuit.state),
        in_flight=lambda queue: sum(s.in_flight for s in subscribers if s.queue == queue),
    )

    def subscribe(queue: str, handle: Callable[[Delivery], Awaitable[Outcome]], settlement: ISettlement) -> Subscriber:
        count = metrics.watch(queue)

        async def watched(delivery: Delivery) -> Outcome:
            if queue != WORK_QUEUE:
                outcome = await handle(delivery)
            else:
                backlog.taken(delivery)
                try:
                    outcome = await handle(delivery)
                finally:
                    backlog.done(delivery)
            intake.watch(outcome)
            return outcome

        subscriber = Subscriber(
            amqp_url,
            queue=queue,
            name=f"{name} consume {queue}",
            topology=topology,
            handle=watched,
            settlement=settlement,
            on_settled=count,
        )
        subscribers.append(subscriber)
        return subscriber

    if ORDERS in consumers:
        order_consumer = OrderConsumer(core=core, policy=policy, max_body_bytes=settings.max_body_bytes)
        settlement = Settlement(publisher, restore_topology=lambda: topology.ensure(amqp_url))
        intake.steer_orders(subscribe(WORK_QUEUE, order_consumer.handle, settlement).set_intake_limit)
    if DEAD_LETTERS in consumers:
        dead_letter_consumer = DeadLetterConsumer(filing=filing)
        intake.steer_other(
            subscribe(DEAD_LETTER_QUEUE, dead_letter_consumer.handle, RequeueSettlement()).set_intake_limit
        )
    return Worker(
        name=name,
        settings=settings,
        store=store,
        supplier=supplier,
        circuit=circuit,
        intake=intake,
        publisher=publisher,
        subscribers=subscribers,
        filing=filing,
        files_dead_letters=DEAD_LETTERS in consumers,
        reports=MongoWorkerReports(store),
        metrics=metrics,
        backlog=backlog,
        depths=QueueDepths(amqp_url, name=f"{name} depths"),
    )


def _circuit_changed(state: CircuitState, circuit: CircuitBreaker, intake: Intake) -> None:
    if state is CircuitState.OPEN:
        _log.warning("circuit.open", seconds=round(circuit.retry_after, 1), why=circuit.last_failure)
    else:
        _log.info(f"circuit.{state}")
    intake.circuit_changed()

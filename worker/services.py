"""What operators do, as services on open connections: the console's pages and its API work on these."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.letter_versions import MongoLetterVersions
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from infra.mongodb.triage import MongoTriage
from infra.mongodb.worker_controls import MongoWorkerControls
from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.replay_publisher import ReplayPublisher
from infra.rabbitmq.topology import ORDERS_EXCHANGE, PLACED_KEY
from worker.domain.audit import Audit
from worker.domain.dead_letter import LetterKind
from worker.domain.delivery_notice import parse_notice
from worker.domain.editing import Editing
from worker.domain.errors import BrokerUnavailableError
from worker.domain.letter_versions import LetterVersions
from worker.domain.letter_view import LetterViews
from worker.domain.order import parse_order
from worker.domain.order_story import OrderStories
from worker.domain.replay import Origin
from worker.domain.replay_jobs import ReplayJobs
from worker.domain.triage import Triage
from worker.domain.worker_controls import WorkerControls
from worker.fleet import Fleet
from worker.settings import Settings
from worker.spans import SPANS_TIMEOUT, open_tracing


@dataclass(frozen=True, slots=True)
class Services:
    """Everything an operator can ask for or do, but for the overview (`worker.overview`)."""

    letters: MongoDeadLetters
    views: LetterViews
    versions: LetterVersions
    orders: OrderStories
    triage: Triage
    editing: Editing
    publisher: ReplayPublisher
    jobs: ReplayJobs
    items: MongoReplayItems
    audit_log: MongoAuditLog
    fleet: Fleet
    controls: WorkerControls


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Prepare the ways to store and broker; nothing connects yet. Raises ConfigurationError."""
    store = MongoStore(
        settings.required("mongodb_uri"), database=settings.mongodb_database, timeout=settings.store_timeout
    )
    tracing = open_tracing(settings, service="logistics-console", instance=f"logistics console {os.getpid()}")
    publisher = ReplayPublisher(settings.required("amqp_url"), name="logistics console edit", tracing=tracing)
    try:
        yield services_on(store, publisher, settings)
    finally:
        with suppress(BrokerUnavailableError):  # it is gone, which is what was wanted
            await publisher.close()
        await store.close()
        await asyncio.to_thread(tracing.close, timeout=SPANS_TIMEOUT)


def services_on(store: MongoStore, publisher: ReplayPublisher, settings: Settings) -> Services:
    """Wire the services."""
    letters, shipments, edits = MongoDeadLetters(store), MongoShipments(store), MongoLetterVersions(store)
    audit_log, items = MongoAuditLog(store), MongoReplayItems(store)
    audit, fleet = Audit(audit_log), Fleet(MongoWorkerReports(store))
    return Services(
        letters=letters,
        views=LetterViews(dead_letters=letters, repository=shipments, edits=edits),
        versions=LetterVersions(edits),
        orders=OrderStories(dead_letters=letters, shipments=shipments),
        triage=Triage(
            dead_letters=letters,
            triage=MongoTriage(store),
            audit=audit,
            retention=timedelta(seconds=settings.discard_retention),
            overdue_after=timedelta(seconds=settings.replay_overdue),
        ),
        editing=editing_on(letters, edits, publisher, audit, max_body_bytes=settings.max_body_bytes),
        publisher=publisher,
        jobs=ReplayJobs(letters=letters, jobs=MongoReplayJobs(store), items=items, audit=audit),
        items=items,
        audit_log=audit_log,
        fleet=fleet,
        controls=WorkerControls(controls=MongoWorkerControls(store), workers=fleet, audit=audit),
    )


def editing_on(
    letters: MongoDeadLetters,
    edits: MongoLetterVersions,
    publisher: ReplayPublisher,
    audit: Audit,
    *,
    max_body_bytes: int,
) -> Editing:
    """Wire edit and replay: an order's letter holds an order, a notice's letter a notice."""
    return Editing(
        dead_letters=letters,
        edits=edits,
        publisher=publisher,
        audit=audit,
        default_origin=Origin(ORDERS_EXCHANGE, PLACED_KEY),
        check={
            LetterKind.ORDER: lambda body: parse_order(body, max_bytes=max_body_bytes).order_id,
            LetterKind.DELIVERED: lambda body: parse_notice(body, max_bytes=max_body_bytes).order_id,
        },
    )

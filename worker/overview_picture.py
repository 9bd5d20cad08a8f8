"""The picture of everything at one moment, put together from what broker and store said. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from infra.rabbitmq.depths import QueueLook
from infra.rabbitmq.topology import (
    DEAD_LETTER_QUEUE,
    DELIVERED_QUEUE,
    RETRY_EXCHANGE,
    SHIPMENTS_RETRY_EXCHANGE,
    WORK_QUEUE,
    retry_queue,
)
from worker.domain.controls import NO_WISHES, Wishes
from worker.problem import Problem, ProblemKind
from worker.worker_views import WorkerView, worker_views

BROKER, STORE = "RabbitMQ", "MongoDB"
_SILENT_AFTER = 5.0
"""Seconds without a report after which a worker may have died."""

CONSUMED = (WORK_QUEUE, DELIVERED_QUEUE, DEAD_LETTER_QUEUE)
"""The queues that workers consume, in the order they are shown."""

Looks = Mapping[str, QueueLook | None]


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue that workers consume. A figure is None where nobody could tell it."""

    name: str
    exists: bool | None
    ready: int | None
    unacknowledged: int | None
    """The sum of what the workers say they have in flight, a second old at most: AMQP does not tell it, and what a
    foreign consumer holds is not seen."""
    consumers: int | None


@dataclass(frozen=True, slots=True)
class OldestWaiting:
    """The age of the oldest order in orders.work: an upper bound (see `worker.backlog`), None when unknown.

    An order that a worker held and gave back by dying may be older: no bound knows of it.
    """

    waiting: bool | None
    at_most: float | None = None
    """Seconds."""
    why_unknown: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayView:
    """The newest replay job, while it is active or has stopped by itself."""

    id: str
    state: str
    by: str
    why: str
    because: str | None
    created_at: datetime
    state_since: datetime


@dataclass(frozen=True, slots=True)
class StoreLook:
    """What the store holds."""

    reports: Sequence[Mapping[str, Any]]
    shipments: Mapping[str, int]
    open_by_reason: Mapping[str, int]
    by_state: Mapping[str, int]
    replay: ReplayView | None = None
    wishes: Wishes = NO_WISHES


class ILooksAtBroker(Protocol):
    """Whoever looks at the broker. What cannot be seen is no error: the reason is returned in its place."""

    @property
    def delays(self) -> Sequence[str]:
        """The labels of the delay queues."""
        ...

    async def look_at_broker(self) -> Looks | str:
        """Look at every queue."""
        ...


class ILooks(ILooksAtBroker, Protocol):
    """Whoever looks at the store, too."""

    async def look_at_store(self) -> StoreLook | str:
        """Look at what the store holds."""
        ...


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment. What could not be asked is None, and `unreachable` says why."""

    taken_at: datetime
    queues: Sequence[QueueView]
    delayed: Mapping[str, int | None] | None
    """Orders waiting for another try, by delay; None for a queue that does not exist."""
    delayed_notices: Mapping[str, int | None] | None
    """The same for delivery notices."""
    workers: Sequence[WorkerView] | None
    shipments: Mapping[str, int] | None
    open_dead_letters: Mapping[str, int] | None
    """By reason."""
    dead_letters: Mapping[str, int] | None
    """By state."""
    oldest_waiting: OldestWaiting
    unreachable: Mapping[str, Problem]
    replay_job: ReplayView | None = None
    control: Wishes | None = None
    """What is wished of the workers by hand."""


def assemble(broker: Looks | str, store: StoreLook | str, *, delays: Sequence[str], now: datetime) -> Overview:
    """Put together what was seen; in place of what was not, the reason."""
    looks: Looks | None = None if isinstance(broker, str) else broker
    seen: StoreLook | None = None if isinstance(store, str) else store
    workers = None if seen is None else worker_views(seen.reports, now=now)
    return Overview(
        taken_at=now,
        queues=[_queue_view(name, looks, workers) for name in CONSUMED],
        delayed=_delayed(RETRY_EXCHANGE, looks, delays),
        delayed_notices=_delayed(SHIPMENTS_RETRY_EXCHANGE, looks, delays),
        workers=workers,
        shipments=seen.shipments if seen else None,
        open_dead_letters=seen.open_by_reason if seen else None,
        dead_letters=seen.by_state if seen else None,
        oldest_waiting=oldest_waiting(looks, seen.reports if seen else None, now=now),
        replay_job=seen.replay if seen else None,
        control=seen.wishes if seen else None,
        unreachable={
            name: unreachable(name, part) for name, part in ((BROKER, broker), (STORE, store)) if isinstance(part, str)
        },
    )


def unreachable(server: str, *why: str | datetime) -> Problem:
    """Return that a server does not answer, and why."""
    return Problem(ProblemKind.UNREACHABLE, why, about=server)


def oldest_waiting(looks: Looks | None, reports: Sequence[Mapping[str, Any]] | None, *, now: datetime) -> OldestWaiting:
    """Return how old the oldest order in orders.work can be.

    A bound once found stays true whoever found it, so those of stopped and lost workers count, too.
    """
    if looks is None:
        return OldestWaiting(waiting=None, why_unknown=f"{BROKER} is not reachable")
    ready = _ready(looks[WORK_QUEUE])
    if not ready:
        return OldestWaiting(waiting=False)
    if reports is None:
        return OldestWaiting(waiting=True, why_unknown=f"{STORE} is not reachable")
    bounds = [report["waiting_since"] for report in reports if report.get("waiting_since") is not None]
    if not bounds:
        why = "no worker has taken an order yet" if reports else "no worker has reported"
        return OldestWaiting(waiting=True, why_unknown=why)
    since = min([max(bounds), *_came_back(reports, now=now)])
    return OldestWaiting(waiting=True, at_most=max((now - since).total_seconds(), 0.0))


def _came_back(reports: Sequence[Mapping[str, Any]], *, now: datetime) -> list[datetime]:
    """Return when the oldest order of each silent worker was published: what it had in hand may wait again."""
    silent = [
        report
        for report in reports
        if not report.get("stopped") and (now - report["seen_at"]).total_seconds() > _SILENT_AFTER
    ]
    return [report["oldest_in_flight"] for report in silent if report.get("oldest_in_flight") is not None]


def _delayed(exchange: str, looks: Looks | None, delays: Sequence[str]) -> dict[str, int | None] | None:
    if looks is None:
        return None
    return {delay: _ready(looks[retry_queue(delay, exchange=exchange)]) for delay in delays}


def _queue_view(name: str, looks: Looks | None, workers: Sequence[WorkerView] | None) -> QueueView:
    look = None if looks is None else looks[name]
    in_flight = None if workers is None else sum(w.in_flight.get(name, 0) for w in workers if not w.lost)
    return QueueView(
        name=name,
        exists=None if looks is None else look is not None,
        ready=_ready(look),
        unacknowledged=in_flight,
        consumers=None if look is None else look.consumers,
    )


def _ready(look: QueueLook | None) -> int | None:
    return None if look is None else look.ready

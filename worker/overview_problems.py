"""What is wrong with the whole, on top of every view of it."""

from collections.abc import Mapping, Sequence

from infra.rabbitmq.topology import RETRY_EXCHANGE, SHIPMENTS_RETRY_EXCHANGE, WORK_QUEUE, retry_queue
from worker.control_words import held_back
from worker.domain.controls import NO_WISHES
from worker.domain.replay_job import JobState
from worker.overview_picture import Overview, QueueView, ReplayView
from worker.overview_words import counted, listed, next_try, order_takers, span
from worker.problem import Problem, ProblemKind
from worker.worker_views import WorkerView

_STARTING = 5.0
"""Seconds within which a worker that is not connected yet is no news."""


def problems(overview: Overview) -> list[Problem]:
    """Return what is wrong, the worst first; nothing when all is well."""
    live = [worker for worker in overview.workers or () if not worker.lost]
    lost = [worker for worker in overview.workers or () if worker.lost]
    found = [
        *overview.unreachable.values(),
        _missing_queues(overview),
        *held_back(overview.control or NO_WISHES, order_takers(live)),
        *(_no_consumer(queue, live, are_known=overview.workers is not None) for queue in overview.queues),
        _open_circuits(live),
        _disconnected(live),
        _lost(lost),
        _stopped_replay(overview.replay_job),
        _open_letters(overview.open_dead_letters or {}),
    ]
    return [problem for problem in found if problem is not None]


def _missing_queues(overview: Overview) -> Problem | None:
    missing = [queue.name for queue in overview.queues if queue.exists is False]
    for exchange, delayed in (
        (RETRY_EXCHANGE, overview.delayed),
        (SHIPMENTS_RETRY_EXCHANGE, overview.delayed_notices),
    ):
        missing += [retry_queue(delay, exchange=exchange) for delay, ready in (delayed or {}).items() if ready is None]
    if not missing:
        return None
    verb = "does" if len(missing) == 1 else "do"
    which = missing[0] if len(missing) == 1 else f"{len(missing)} queues ({', '.join(missing)})"
    how = "'logistics topology declare' creates what is missing, as every worker does"
    return Problem(ProblemKind.MISSING_QUEUES, (f"{which} {verb} not exist: {how}",))


def _no_consumer(queue: QueueView, live: Sequence[WorkerView], *, are_known: bool) -> Problem | None:
    if queue.consumers != 0:
        return None
    workers = [worker for worker in live if queue.name in worker.in_flight]
    if not workers:
        waiting = f": {counted(queue.ready, 'message')} waiting" if queue.ready else ""
        said = f"no consumer on {queue.name}{waiting}"
        if not are_known:  # to start one would be no help: those there are have paused because of that, too
            said = f"{said} (which workers there are is not known, and they pause while MongoDB does not answer)"
            return Problem(ProblemKind.NO_CONSUMER, (said,), about=queue.name)
        return Problem(ProblemKind.NO_CONSUMER, (said,), about=queue.name, advice="'logistics worker' is one")
    if queue.name == WORK_QUEUE and all(worker.paused or worker.circuit != "closed" for worker in workers):
        return None  # on purpose, and the line about the pause or the circuit says so
    said = f"no consumer on {queue.name}, though {counted(len(workers), 'worker')} for it: connecting, or paused"
    return Problem(ProblemKind.NO_CONSUMER, (said,), about=queue.name)


def _open_circuits(live: Sequence[WorkerView]) -> Problem | None:
    workers = order_takers(live)
    by_itself = [worker for worker in workers if not worker.circuit_held_open]
    not_closed = [worker for worker in by_itself if worker.circuit in {"open", "half_open"}]
    if not not_closed:
        return None
    newest = min(not_closed, key=lambda worker: worker.seen_ago)
    waiting = [worker.circuit_retry_after for worker in not_closed if worker.circuit == "open"]
    then = next_try(min(waiting)) if len(waiting) == len(not_closed) else "an order is trying it now"
    why = _supplier_says(newest.last_failure)
    longest = max(worker.circuit_open_for for worker in not_closed)
    how_long = f" for {span(longest)}" if longest else ""
    said = f"circuit open{how_long} on {len(not_closed)} of {counted(len(workers), 'worker')}: {why}; {then}"
    return Problem(ProblemKind.OPEN_CIRCUIT, (said,))


def _supplier_says(failure: str | None) -> str:
    if failure is None:
        return "the supplier fails"
    return f"supplier answers {failure}" if failure.startswith("HTTP") else f"supplier: {failure}"


def _disconnected(live: Sequence[WorkerView]) -> Problem | None:
    names = [worker.name for worker in live if not worker.connected and (worker.uptime or 0) > _STARTING]
    return Problem(ProblemKind.NOT_CONNECTED, (f"not connected to RabbitMQ: {', '.join(names)}",)) if names else None


def _lost(lost: Sequence[WorkerView]) -> Problem | None:
    if not lost:
        return None
    others = "" if len(lost) == 1 else ", the others before"
    said = f"{counted(len(lost), 'worker')} lost: {lost[0].name} was last seen {span(lost[0].seen_ago)} ago{others}"
    return Problem(ProblemKind.LOST_WORKERS, (said,))


def _stopped_replay(job: ReplayView | None) -> Problem | None:
    if job is None or job.state != JobState.STOPPED:
        return None
    said, more = f"replay job {job.id} stopped by itself: {job.because}", f"'logistics replay show {job.id}' says more"
    return Problem(ProblemKind.STOPPED_REPLAY, (said,), about=job.id, advice=more)


def _open_letters(by_reason: Mapping[str, int]) -> Problem | None:
    total = sum(by_reason.values())
    said = f"{counted(total, 'dead letter')} open: {listed(by_reason)}"
    return Problem(ProblemKind.OPEN_LETTERS, (said,)) if total else None

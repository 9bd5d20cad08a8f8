"""What an overview says in words: what is wrong, on top of every view of it."""

import math
from collections.abc import Mapping, Sequence

from infra.rabbitmq.topology import RETRY_EXCHANGE, SHIPMENTS_RETRY_EXCHANGE, WORK_QUEUE, retry_queue
from worker.control_words import held_back
from worker.domain.controls import NO_WISHES
from worker.domain.replay_job import JobState
from worker.overview_picture import OldestWaiting, Overview, QueueView, ReplayView, WorkerView

_STARTING = 5.0
"""Seconds within which a worker that is not connected yet is no news."""


def problems(overview: Overview) -> list[str]:
    """Return what is wrong, one sentence each, the worst first; nothing when all is well."""
    live = [worker for worker in overview.workers or () if not worker.lost]
    lost = [worker for worker in overview.workers or () if worker.lost]
    sentences = [
        *overview.unreachable.values(),
        _missing_queues(overview),
        *held_back(overview.control or NO_WISHES, order_takers(live), now=overview.taken_at),
        *(_no_consumer(queue, live) for queue in overview.queues),
        _open_circuits(live),
        _disconnected(live),
        _lost(lost),
        _stopped_replay(overview.replay_job),
        _open_letters(overview.open_dead_letters or {}),
    ]
    return [sentence for sentence in sentences if sentence]


def order_takers(workers: Sequence[WorkerView]) -> list[WorkerView]:
    """Return those of the workers that take orders."""
    return [worker for worker in workers if WORK_QUEUE in worker.in_flight]


def oldest_in_words(oldest: OldestWaiting) -> str:
    """Return `at most 12 s`, `none waiting`, or `unknown` and why."""
    if oldest.waiting is False:
        return "none waiting"
    return f"unknown ({oldest.why_unknown})" if oldest.at_most is None else f"at most {span(oldest.at_most)}"


def circuit_in_words(worker: WorkerView) -> str:
    """Return where a worker's circuit stands, with its countdown: `open, next try in 4 s`."""
    if worker.circuit_held_open and not worker.lost:
        return "opened by hand"
    if worker.circuit == "open":
        return "open" if worker.lost else f"open, {_next_try(worker.circuit_retry_after)}"
    return worker.circuit.replace("_", " ")


def counted(number: int, thing: str) -> str:
    """Return `1 worker` or `2 workers`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def listed(counts: Mapping[str, int]) -> str:
    """Return `malformed 3, expired 1`, the most frequent first."""
    return ", ".join(
        f"{name} {number}" for name, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def span(seconds: float) -> str:
    """Return a time span in its two largest units, rounded up to the second: `3 min 5 s`."""
    left = math.ceil(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((i for i, (_, size) in enumerate(units) if left >= size), len(units) - 1)
    parts: list[str] = []
    for unit, size in units[first : first + 2]:
        number, left = divmod(left, size)
        if number or not parts:
            parts.append(f"{number} {unit}")
    return " ".join(parts)


def _missing_queues(overview: Overview) -> str | None:
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
    return f"{which} {verb} not exist: 'logistics topology declare' creates what is missing, as every worker does"


def _no_consumer(queue: QueueView, live: Sequence[WorkerView]) -> str | None:
    if queue.consumers != 0:
        return None
    workers = [worker for worker in live if queue.name in worker.in_flight]
    if not workers:
        waiting = f": {counted(queue.ready, 'message')} waiting" if queue.ready else ""
        return f"no consumer on {queue.name}{waiting}; 'logistics worker' is one"
    if queue.name == WORK_QUEUE and all(worker.paused or worker.circuit != "closed" for worker in workers):
        return None  # on purpose, and the line about the pause or the circuit says so
    return f"no consumer on {queue.name}, though {counted(len(workers), 'worker')} for it: connecting, or paused"


def _open_circuits(live: Sequence[WorkerView]) -> str | None:
    workers = order_takers(live)
    by_itself = [worker for worker in workers if not worker.circuit_held_open]
    not_closed = [worker for worker in by_itself if worker.circuit in {"open", "half_open"}]
    if not not_closed:
        return None
    newest = min(not_closed, key=lambda worker: worker.seen_ago)
    waiting = [worker.circuit_retry_after for worker in not_closed if worker.circuit == "open"]
    then = _next_try(min(waiting)) if len(waiting) == len(not_closed) else "an order is trying it now"
    why = _supplier_says(newest.last_failure)
    longest = max(worker.circuit_open_for for worker in not_closed)
    how_long = f" for {span(longest)}" if longest else ""
    return f"circuit open{how_long} on {len(not_closed)} of {counted(len(workers), 'worker')}: {why}; {then}"


def _supplier_says(failure: str | None) -> str:
    if failure is None:
        return "the supplier fails"
    return f"supplier answers {failure}" if failure.startswith("HTTP") else f"supplier: {failure}"


def _next_try(seconds: float) -> str:
    return f"next try in {span(seconds)}" if seconds > 0 else "next try with the next order"


def _disconnected(live: Sequence[WorkerView]) -> str | None:
    names = [worker.name for worker in live if not worker.connected and (worker.uptime or 0) > _STARTING]
    return f"not connected to RabbitMQ: {', '.join(names)}" if names else None


def _lost(lost: Sequence[WorkerView]) -> str | None:
    if not lost:
        return None
    return f"{counted(len(lost), 'worker')} lost: {lost[0].name} was last seen {span(lost[0].seen_ago)} ago" + (
        "" if len(lost) == 1 else ", the others before"
    )


def _stopped_replay(job: ReplayView | None) -> str | None:
    if job is None or job.state != JobState.STOPPED:
        return None
    return f"replay job {job.id} stopped by itself: {job.because}; 'logistics replay show {job.id}' says more"


def _open_letters(by_reason: Mapping[str, int]) -> str | None:
    total = sum(by_reason.values())
    return f"{counted(total, 'dead letter')} open: {listed(by_reason)}" if total else None

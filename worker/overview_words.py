"""What an overview says in words."""

import math
from collections.abc import Mapping, Sequence

from infra.rabbitmq.topology import WORK_QUEUE
from worker.overview_picture import OldestWaiting
from worker.worker_views import WorkerView


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
        return "open" if worker.lost else f"open, {next_try(worker.circuit_retry_after)}"
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


def next_try(seconds: float) -> str:
    """Return when an open circuit is tried: `next try in 4 s`."""
    return f"next try in {span(seconds)}" if seconds > 0 else "next try with the next order"

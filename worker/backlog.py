"""Since when the oldest waiting order can have been waiting: an upper bound, found without touching the queue.

The broker does not tell the age of a quorum queue's head, and taking the message to look would count as a delivery.
But a queue is handed out in order: what waits was published after the order taken last, and after the queue was last
seen empty.
"""

from collections import Counter
from datetime import UTC, datetime

from worker.domain.delivery import Delivery


class Backlog:
    """Remembers the newest moment before which no waiting order was published."""

    def __init__(self) -> None:
        self.waiting_since: datetime | None = None
        """No waiting order is older than this, but for those in flight when a worker dies; None: nothing is known."""
        self._in_flight: Counter[datetime] = Counter()

    def age(self, *, now: datetime) -> float | None:
        """Return the seconds than which no waiting order is older; None when nothing is known."""
        return None if self.waiting_since is None else max((now - self.waiting_since).total_seconds(), 0.0)

    @property
    def oldest_in_flight(self) -> datetime | None:
        """When the oldest order that this worker has in hand was published: it waits again if the worker dies."""
        return min(self._in_flight, default=None)

    def taken(self, delivery: Delivery) -> None:
        """Note an order taken from the queue. One that has been round through a delay queue bounds nothing."""
        if delivery.published_at is None:
            return
        self._in_flight[delivery.published_at] += 1
        if not delivery.redelivered and "attempt" not in delivery.headers:
            self._advance(min(delivery.published_at, datetime.now(UTC)))

    def done(self, delivery: Delivery) -> None:
        """Note that an order taken earlier is settled, or given back."""
        if delivery.published_at is not None:
            self._in_flight[delivery.published_at] -= 1
            if self._in_flight[delivery.published_at] <= 0:
                del self._in_flight[delivery.published_at]

    def seen(self, depth: int | None, *, now: datetime) -> None:
        """Note how many orders were waiting at `now`; None when unknown."""
        if depth == 0:
            self._advance(now)

    def _advance(self, at: datetime) -> None:
        if self.waiting_since is None or at > self.waiting_since:
            self.waiting_since = at

"""Since when the oldest waiting order can have been waiting: an upper bound, found without touching the queue.

The broker does not tell the age of a quorum queue's head, and taking the message to look would count as a delivery.
But a queue is handed out in order: what waits was published after the order taken last, and after the queue was last
seen empty.
"""

from datetime import UTC, datetime

from worker.domain.delivery import Delivery


class Backlog:
    """Remembers the newest moment before which no waiting order was published."""

    def __init__(self) -> None:
        self.waiting_since: datetime | None = None
        """No waiting order is older than this; None when nothing is known."""

    def taken(self, delivery: Delivery) -> None:
        """Note an order taken from the queue. One that has been round through a delay queue says nothing."""
        if delivery.published_at is not None and not delivery.redelivered and "attempt" not in delivery.headers:
            self._advance(min(delivery.published_at, datetime.now(UTC)))

    def seen(self, depth: int | None, *, now: datetime) -> None:
        """Note how many orders were waiting at `now`; None when unknown."""
        if depth == 0:
            self._advance(now)

    def _advance(self, at: datetime) -> None:
        if self.waiting_since is None or at > self.waiting_since:
            self.waiting_since = at

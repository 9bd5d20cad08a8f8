"""What has become of the orders a worker took, counted so that rates and percentiles can be told from it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from worker.domain.delivery import PUBLISHED_AT, Delivery, to_milliseconds
from worker.domain.header_reader import HeaderReader
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry
from worker.domain.percentiles import Times, step_of


@dataclass(frozen=True, slots=True)
class Counts:
    """Orders settled, by what became of them."""

    shipped: int = 0
    duplicates: int = 0
    """Were shipped before."""
    retried: int = 0
    """Failed tries that come back."""
    deferred: int = 0
    """Put off without a try."""
    failed: int = 0
    """Became dead letters."""
    times: Times = field(default_factory=dict)
    """From publish to shipped, of those shipped whose publisher says when that was."""

    @property
    def left(self) -> int:
        """How many messages of orders are out of the queues for good."""
        return self.shipped + self.duplicates + self.failed

    def since(self, earlier: "Counts") -> "Counts":
        """Return what has been counted since."""
        numbers = {name: getattr(self, name) - getattr(earlier, name) for name in _NUMBERS}
        return Counts(**numbers, times=Counter(self.times) - Counter(earlier.times))

    def __add__(self, other: "Counts") -> "Counts":
        numbers = {name: getattr(self, name) + getattr(other, name) for name in _NUMBERS}
        return Counts(**numbers, times=Counter(self.times) + Counter(other.times))

    def document(self) -> dict[str, Any]:
        """Return the counts with names that are text; `from_document` reads them."""
        times = {str(step): number for step, number in self.times.items()}
        return {**{name: getattr(self, name) for name in _NUMBERS}, "times": times}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Counts":
        """Return the counts of a document; what it does not name is 0."""
        times = {int(step): int(number) for step, number in document.get("times", {}).items()}
        return cls(**{name: int(document.get(name, 0)) for name in _NUMBERS}, times=times)


_NUMBERS = tuple(item.name for item in fields(Counts) if item.name != "times")


class Tally:
    """Counts one worker's orders from its start on, never backwards."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._times: Counter[int] = Counter()

    @property
    def counts(self) -> Counts:
        """What has been counted so far."""
        return Counts(**self._numbers, times=dict(self._times))

    def settled(self, delivery: Delivery, outcome: Outcome, *, now: datetime) -> None:
        """Count an order that has been settled."""
        match outcome:
            case Ack(note="shipped"):
                self._numbers["shipped"] += 1
                published = published_at(delivery)
                if published is not None:
                    self._times[step_of((to_milliseconds(now) - published) / 1000)] += 1
            case Ack():
                self._numbers["duplicates"] += 1
            case Retry():
                self._numbers["retried"] += 1
            case Defer(error=None):
                pass  # it only came back before its time
            case Defer():
                self._numbers["deferred"] += 1
            case DeadLetter():
                self._numbers["failed"] += 1


def published_at(delivery: Delivery) -> int | None:
    """Return when an order was published, a replayed one when it was replayed; milliseconds since the epoch.

    From the publisher's header `published_at`, else from its timestamp, which has whole seconds: the order then seems
    up to a second older than it is. None when it says neither.
    """
    if "replay_id" not in delivery.headers:
        exact = HeaderReader(delivery.headers).milliseconds(PUBLISHED_AT)
        if exact is not None:
            return exact
    return None if delivery.published_at is None else to_milliseconds(delivery.published_at)

"""Samples: how everything was every 10 s, kept so that there is a history. Each is of the 10 s before its time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from worker.domain.percentiles import Times

PERIOD = timedelta(seconds=10)

COUNTED: Mapping[str, str] = {
    "published": "orders published, replays included",
    "shipped": "orders shipped",
    "retried": "tries that failed and come back",
    "deferred": "orders put off without a try",
    "failed": "orders that became dead letters",
}
"""What is counted within a period, and what it is."""

MEASURED: Mapping[str, str] = {
    "waiting": "orders ready in orders.work",
    "delayed": "orders waiting for another try",
    "in_flight": "orders that workers have in hand",
    "notices_waiting": "delivery notices ready in shipments.delivered",
    "letters_waiting": "dead letters ready in orders.dlq, not filed yet",
    "open_letters": "open dead letters",
    "oldest_waiting": "the age of the oldest waiting order, at most; seconds",
    "workers": "workers that report",
    "circuits_open": "workers whose circuit is not closed",
}
"""What is seen at the end of a period, and what it is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One period. A figure that nobody could tell is None."""

    at: datetime
    """The end of the period, a multiple of 10 s."""
    counted: Mapping[str, int | None]
    """By the names of COUNTED."""
    measured: Mapping[str, float | None]
    """By the names of MEASURED."""
    times: Times = field(default_factory=dict)
    """From publish to shipped."""

    @property
    def held(self) -> float | None:
        """How many orders are on their way: waiting, delayed or in hand."""
        parts = [self.measured.get(name) for name in ("waiting", "delayed", "in_flight")]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


@dataclass(frozen=True, slots=True)
class Slot:
    """What some samples in a row come to; a slot of which there is no sample does not exist."""

    start: datetime
    """Exclusive: it holds the periods that end after this, the last one at the start of the next slot."""
    counted: Mapping[str, float | None]
    """The average of a period. May be below 0 for `published`, which is worked out."""
    measured: Mapping[str, float | None]
    """The highest of them."""
    times: Times


class ISamples(Protocol):
    """The stored samples. Every method raises StoreUnavailableError; a write may have happened then."""

    async def claim(self, at: datetime, *, keep_until: datetime) -> bool:
        """Take on the sample of the period that ends then: True for the first who asks, for all others False.

        A claim that is never filled is no sample. The store removes it after `keep_until`, filled or not.
        """
        ...

    async def fill(self, sample: Sample) -> None:
        """Store the sample that was claimed; nothing happens when there is no claim. Repeating it changes nothing."""
        ...

    async def get(self, at: datetime) -> Sample | None:
        """Return the sample of the period that ends then."""
        ...

    async def slots(self, *, since: datetime, until: datetime, step: timedelta) -> Sequence[Slot]:
        """Return what the samples after `since` and up to `until` come to in slots of `step`, the oldest first.

        Slots begin at multiples of `step` since the epoch.
        """
        ...


def end_of_period(now: datetime) -> datetime:
    """Return when the period that is under way ends: later than now."""
    seconds = PERIOD.total_seconds()
    return datetime.fromtimestamp((math.floor(now.timestamp() / seconds) + 1) * seconds, UTC)

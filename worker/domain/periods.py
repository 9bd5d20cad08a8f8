"""What a worker counts, cut into the periods that the history consists of."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.domain.counts import Counts, Tally
from worker.domain.samples import PERIOD, end_of_period

_REPORTED = 2
"""The last one, and the one before: whoever makes the sample may be a few seconds late."""


@dataclass(frozen=True, slots=True)
class Period:
    """What one worker has done in one period."""

    at: datetime
    """The period's end."""
    in_flight: int
    """Orders in hand then."""
    counts: Counts

    def document(self) -> dict[str, Any]:
        """Return the period as reports hold it; `from_document` reads it."""
        return {"at": self.at, "in_flight": self.in_flight, "counts": self.counts.document()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Period":
        """Return the period of a document."""
        return cls(document["at"], int(document["in_flight"]), Counts.from_document(document["counts"]))


class Periods:
    """Closes a period when its time is over; every order counted is in exactly one."""

    def __init__(self, tally: Tally, *, now: datetime) -> None:
        self._tally = tally
        self._counted = tally.counts
        self._end = end_of_period(now)
        self._closed: deque[Period] = deque(maxlen=_REPORTED)

    def look(self, *, in_flight: int, now: datetime, is_last: bool = False) -> list[Period]:
        """Return the last periods that are over. `is_last`: the worker stops, and with it the one under way.

        Looked at late, a period is longer than 10 s: what came after its end is in it, too.
        """
        end = end_of_period(now)
        if is_last or end > self._end:
            counts = self._tally.counts
            self._closed.append(Period(end if is_last else end - PERIOD, in_flight, counts.since(self._counted)))
            self._counted = counts
        self._end = end
        return list(self._closed)

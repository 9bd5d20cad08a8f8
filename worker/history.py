"""The history of the overview as lines of points, for sparklines."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from worker.domain.core import utc_now
from worker.domain.errors import StoreUnavailableError
from worker.domain.percentiles import percentile
from worker.domain.samples import COUNTED, MEASURED, PERIOD, ISamples, Slot

POINTS = 120
"""Of a line, at most."""

TIMES: Mapping[str, float] = {"to_shipped_p50": 0.5, "to_shipped_p95": 0.95}
"""The lines of the time from publish to shipped, and which share was shipped within it."""

_OFTEN, _SELDOM = 5.0, 60.0
_KEPT = 8
_SHORTEST, _LONGEST = 0.1, 10_000


@dataclass(frozen=True, slots=True)
class History:
    """Lines over the same points in time, the newest last."""

    step: float
    """Seconds from one point to the next."""
    times: Sequence[datetime]
    """When the stretch of each point begins; it lasts for `step`. The last one may be under way."""
    lines: Mapping[str, Sequence[float | None]]
    """By name: those of COUNTED (orders per second, the average), of MEASURED (the highest) and of TIMES (seconds).
    None: nobody could tell, or nobody was there to look."""


class HistoryReader:
    """Reads the history for any number of readers; the store is asked now and then, not for each of them."""

    def __init__(
        self,
        samples: ISamples,
        *,
        clock: Callable[[], datetime] = utc_now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._samples = samples
        self._clock = clock
        self._timer = timer
        self._known: dict[float, tuple[float, History]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def read(self, *, hours: float) -> History:
        """Return the last so many hours. While the store is away: what was last known, else lines of gaps.

        Raises ValueError unless `hours` is from 0.1 to 10,000.
        """
        if not _SHORTEST <= hours <= _LONGEST:
            raise ValueError(f"a history is of {_SHORTEST:g} to {_LONGEST:,} hours")
        async with self._one_at_a_time:
            read_at, known = self._known.get(hours, (0.0, None))
            if known is not None and self._timer() - read_at < min(max(known.step / 4, _OFTEN), _SELDOM):
                return known
            since, step = _stretch(hours, self._clock())
            try:
                slots = await self._samples.slots(since=since, until=since + POINTS * step, step=step)
            except StoreUnavailableError:
                return known or history_of([], since=since, step=step)
            read = history_of(slots, since=since, step=step)
            self._known = dict([*self._known.items()][-_KEPT + 1 :])
            self._known[hours] = (self._timer(), read)
            return read


def history_of(slots: Sequence[Slot], *, since: datetime, step: timedelta) -> History:
    """Return the lines through these slots; where there is no slot there is a gap."""
    by_start = {slot.start: slot for slot in slots}
    times = [since + number * step for number in range(POINTS)]
    points = [_point(by_start.get(start)) for start in times]
    names = (*COUNTED, *MEASURED, *TIMES)
    return History(step.total_seconds(), times, {name: [point.get(name) for point in points] for name in names})


def _point(slot: Slot | None) -> Mapping[str, float | None]:
    if slot is None:
        return {}
    rates = {name: _per_second(number) for name, number in slot.counted.items()}
    return {**rates, **slot.measured, **{name: percentile(slot.times, share) for name, share in TIMES.items()}}


def _per_second(in_a_period: float | None) -> float | None:
    return None if in_a_period is None else max(in_a_period, 0.0) / PERIOD.total_seconds()


def _stretch(hours: float, now: datetime) -> tuple[datetime, timedelta]:
    """Return where the first slot begins and how long each is: whole periods, the last slot holding `now`."""
    step = math.ceil(hours * 3600 / POINTS / PERIOD.total_seconds()) * PERIOD
    end = (math.floor(now.timestamp() / step.total_seconds()) + 1) * step.total_seconds()
    return datetime.fromtimestamp(end, UTC) - POINTS * step, step

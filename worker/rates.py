"""Orders per second and times from publish to shipped, from what the workers report. Pure."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from infra.rabbitmq.topology import RETRY_EXCHANGE, WORK_QUEUE
from worker.domain.counts import Counts
from worker.domain.percentiles import percentile
from worker.overview_picture import Looks

_WINDOW = 10.0
_TIMES_WINDOW = 60.0
_HELD_WINDOW = 30.0
_SILENT_AFTER = 5.0
_SHORTEST_SPAN = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rates:
    """Orders per second over the last 10 s, and how long they took over the last minute. None: not known (yet)."""

    published: float | None = None
    """Worked out: what left the queues and what they hold more than before. Replays count as published."""
    shipped: float | None = None
    retried: float | None = None
    """Tries that failed and come back."""
    deferred: float | None = None
    """Put off without a try: the circuit is open, or the store is away."""
    failed: float | None = None
    """Became dead letters."""
    to_shipped_p50: float | None = None
    """Seconds from publish to shipped, the median; None when nothing was shipped."""
    to_shipped_p95: float | None = None


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a worker said at one moment, by its own clock (seconds)."""

    at: float
    counts: Counts
    in_flight: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What happened at one worker between two moments, by our clock."""

    start: float
    end: float
    counts: Counts
    in_flight: int
    """How many more it has in flight."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Meter:
    """Remembers what was seen within the last minute, and tells the rates from it."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._workers: dict[str, _Track] = {}
        self._held: deque[tuple[float, int]] = deque()

    def note_queues(self, looks: Looks, *, now: datetime) -> None:
        """Note how many orders the queues hold."""
        self._held.append((now.timestamp(), orders_held(looks)))
        _forget(self._held, before=now.timestamp() - _HELD_WINDOW, at=lambda seen: seen[0])

    def note_reports(self, reports: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
        """Note what the workers have reported."""
        if self._since is None:
            self._since = now.timestamp()
        named = {str(report["name"]): report for report in reports if "counts" in report}
        for name, report in named.items():
            track = self._workers.get(name)
            if track is None or not track.goes_on_with(report):
                track = self._workers[name] = _Track(report, watched_since=self._since)
            track.note(report, now=now.timestamp())
        self._workers = {name: track for name, track in self._workers.items() if name in named}

    def rates(self, *, now: datetime) -> Rates:
        """Return the rates as they are now."""
        stretches = self._stretches(_WINDOW, now)
        if stretches is None:
            return Rates()
        times = sum((stretch.counts for stretch in self._stretches(_TIMES_WINDOW, now) or ()), Counts()).times
        return Rates(
            published=self._published(stretches),
            shipped=_per_second(stretches, lambda stretch: stretch.counts.shipped),
            retried=_per_second(stretches, lambda stretch: stretch.counts.retried),
            deferred=_per_second(stretches, lambda stretch: stretch.counts.deferred),
            failed=_per_second(stretches, lambda stretch: stretch.counts.failed),
            to_shipped_p50=percentile(times, 0.5),
            to_shipped_p95=percentile(times, 0.95),
        )

    def _stretches(self, seconds: float, now: datetime) -> list[_Stretch] | None:
        """Return what happened at each worker; None while none of those that report has done so twice."""
        found = [track.stretch(seconds, now=now.timestamp()) for track in self._workers.values()]
        known = [stretch for stretch in found if stretch is not None]
        return None if self._since is None or (found and not known) else known

    def _published(self, stretches: Sequence[_Stretch]) -> float | None:
        """Work out what was published: what left, and how much more is held, both in the same stretch of time."""
        moved = _per_second(stretches, lambda stretch: stretch.counts.left + stretch.in_flight)
        newest = self._held[-1][0] if self._held else 0.0
        start = sum(stretch.start for stretch in stretches) / len(stretches) if stretches else newest - _WINDOW
        end = sum(stretch.end for stretch in stretches) / len(stretches) if stretches else newest
        grown = self._grown(start, end)
        return None if grown is None else max(grown + moved, 0.0)

    def _grown(self, start: float, end: float) -> float | None:
        """Return how much more the queues held at the end than at the start, per second; None: too little is known."""
        if not self._held:
            return None
        first, last = self._held[0][0], self._held[-1][0]
        start, end = max(start, first), min(end, last)
        if end - start < _SHORTEST_SPAN:
            return None
        return (_between(self._held, end) - _between(self._held, start)) / (end - start)


class _Track:
    """What one worker, from one start of it, has reported lately."""

    def __init__(self, report: Mapping[str, Any], *, watched_since: float) -> None:
        self._started_at: datetime = report["started_at"]
        self._marks: deque[_Mark] = deque()
        self._lag = float("inf")
        if self._started_at.timestamp() > watched_since:  # we saw it come: it began with nothing
            self._marks.append(_Mark(self._started_at.timestamp(), Counts(), 0))

    def goes_on_with(self, report: Mapping[str, Any]) -> bool:
        """Whether a report is of the same start, and not older than the last one."""
        is_older = bool(self._marks) and report["seen_at"].timestamp() < self._marks[-1].at
        return report["started_at"] == self._started_at and not is_older

    def note(self, report: Mapping[str, Any], *, now: float) -> None:
        """Note a report, which may be the one already known."""
        at = report["seen_at"].timestamp()
        self._lag = min(self._lag, now - at)
        if not self._marks or at > self._marks[-1].at:
            counts = Counts.from_document(report["counts"])
            self._marks.append(_Mark(at, counts, int(report.get("in_flight", {}).get(WORK_QUEUE, 0))))
            _forget(self._marks, before=at - _TIMES_WINDOW, at=lambda mark: mark.at)

    def stretch(self, seconds: float, *, now: float) -> _Stretch | None:
        """Return what happened within the last so many seconds; None when too little is known."""
        newest = self._marks[-1]
        now_there = now - self._lag
        end = now_there if now_there - newest.at > _SILENT_AFTER else newest.at
        oldest = next((mark for mark in reversed(self._marks) if mark.at <= end - seconds), self._marks[0])
        if end - oldest.at < _SHORTEST_SPAN:
            return None
        counts = newest.counts.since(oldest.counts)
        return _Stretch(oldest.at + self._lag, end + self._lag, counts, newest.in_flight - oldest.in_flight)


def _per_second(stretches: Sequence[_Stretch], number: Callable[[_Stretch], int]) -> float:
    return sum(number(stretch) / stretch.seconds for stretch in stretches)


def orders_held(looks: Looks) -> int:
    """Return how many orders wait, for a worker or for another try."""
    delayed = f"{RETRY_EXCHANGE}."
    return sum(look.ready for name, look in looks.items() if look and (name == WORK_QUEUE or name.startswith(delayed)))


def _between(held: Sequence[tuple[float, int]], at: float) -> float:
    """Return how much was held at a time, a straight line drawn from one look to the next."""
    number = min(bisect_left(held, at, key=lambda seen: seen[0]), len(held) - 1)
    (before, less), (after, more) = held[max(number - 1, 0)], held[number]
    return more if after <= before else less + (more - less) * min(max((at - before) / (after - before), 0.0), 1.0)


def _forget(seen: deque[T], *, before: float, at: Callable[[T], float]) -> None:
    """Drop what was seen before that time, but for the last of it."""
    while len(seen) > 1 and at(seen[1]) <= before:
        seen.popleft()

"""How fast a replay job goes, when it stops by itself, when it will have ended. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from worker.domain.replay_job import ItemState, JobState, ReplayItem, ReplayJob, ReplayOptions, ReplayTally

WINDOW = 100
"""Outcomes that are looked at, the newest ones."""
LEAST = 10
"""Outcomes below which a share says nothing."""
_DOUBLES_EVERY = 10.0


def rate_at(options: ReplayOptions, seconds: float) -> float:
    """Return the letters a second that may go out after so many seconds of ramp: doubling, up to the rate."""
    doublings = min(max(seconds, 0.0) / _DOUBLES_EVERY, 64.0)
    return min(options.start_rate * math.exp2(doublings), options.rate)


def letters_by(options: ReplayOptions, seconds: float) -> float:
    """Return how many letters may have gone out by so many seconds of ramp: the integral of `rate_at`."""
    seconds = max(seconds, 0.0)
    growing = _seconds_of_growth(options)
    grown = min(seconds, growing)
    first = min(options.start_rate, options.rate)
    while_growing = first * _DOUBLES_EVERY / math.log(2) * (math.exp2(grown / _DOUBLES_EVERY) - 1.0)
    return while_growing + options.rate * max(seconds - growing, 0.0)


def seconds_for(options: ReplayOptions, letters: float, *, after: float = 0.0) -> float:
    """Return the seconds in which so many letters go out, `after` seconds of ramp."""
    start = letters_by(options, after)
    low, high = 0.0, 1.0
    while letters_by(options, after + high) - start < letters:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if letters_by(options, after + middle) - start >= letters else (middle, high)
    return high


def expected_end(job: ReplayJob, tally: ReplayTally, *, now: datetime) -> datetime | None:
    """Return when the last letter will have gone out, at the planned pace; None where nothing says."""
    waiting = tally.of(ItemState.WAITING)
    if job.state is not JobState.RAMP or job.total is None:
        return None  # what comes after a canary is known when its outcome is
    ramped = (now - job.state_since).total_seconds()
    return now + timedelta(seconds=seconds_for(job.options, waiting, after=ramped)) if waiting else now


def why_stop(outcomes: Sequence[ReplayItem], options: ReplayOptions) -> str | None:
    """Return why a job has to stop after these outcomes, the newest ones; None when it may go on.

    The share counts failures that are alike: by their fingerprint, or by what the broker said to the copy.
    """
    if len(outcomes) < LEAST:
        return None
    failures = Counter(_kind_of_failure(item) for item in outcomes if _failed(item))
    if not failures:
        return None
    kind, count = failures.most_common(1)[0]
    if count <= options.stop_share * len(outcomes):
        return None
    example = next(item for item in outcomes if _failed(item) and _kind_of_failure(item) == kind)
    return (
        f"{count} of the last {len(outcomes)} failed in the same way, more than {options.stop_share:.0%}: "
        f"{example.why} (dead letter {example.letter_id})"
    )


def why_canary_failed(canaries: Sequence[ReplayItem], options: ReplayOptions, *, now: datetime) -> str | None:
    """Return why a job has to stop after its canaries; None when they have not failed."""
    for item in canaries:
        if _failed(item):
            return f"the canary failed: {item.why} (dead letter {item.letter_id})"
    for item in canaries:
        if is_overdue(item, options, now=now):
            return f"the canary has no outcome after {options.overdue_after:g} s (dead letter {item.letter_id})"
    return None


def is_overdue(item: ReplayItem, options: ReplayOptions, *, now: datetime) -> bool:
    """Return whether a copy has been on its way for too long."""
    if item.state not in {ItemState.SENT, ItemState.IN_DOUBT} or item.sent_at is None:
        return False
    return (now - item.sent_at).total_seconds() > options.overdue_after


def _failed(item: ReplayItem) -> bool:
    return item.state in {ItemState.FAILED_AGAIN, ItemState.NOT_SENT}


def _kind_of_failure(item: ReplayItem) -> str:
    return f"{item.state}:{item.failed_as or item.why}"


def _seconds_of_growth(options: ReplayOptions) -> float:
    if options.start_rate >= options.rate:
        return 0.0
    return _DOUBLES_EVERY * math.log2(options.rate / options.start_rate)

"""The history as lines: few points, gaps where nobody looked, and the store not asked for every reader."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.test_samples_contract import LONG
from tests.support.fake_samples import FakeSamples
from worker.domain.percentiles import step_of
from worker.domain.samples import COUNTED, MEASURED, Sample
from worker.history import POINTS, TIMES, History, HistoryReader

NOW = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)


class Room:
    """Samples and a reader."""

    def __init__(self) -> None:
        self.samples = FakeSamples()
        self.seconds = 0.0
        self.reader = HistoryReader(self.samples, clock=lambda: NOW, timer=lambda: self.seconds)

    async def sampled(self, *, minutes_ago: float, **figures: Any) -> None:
        """A sample of the period that ended so long ago."""
        at = NOW.replace(second=0) - timedelta(minutes=minutes_ago)
        times = figures.pop("times", {})
        await self.samples.claim(at, keep_until=LONG)
        await self.samples.fill(
            Sample(at, {**dict.fromkeys(COUNTED), **figures}, {**dict.fromkeys(MEASURED), **figures}, times)
        )

    async def read(self, hours: float = 1) -> History:
        return await self.reader.read(hours=hours)


@pytest.fixture
def room() -> Room:
    return Room()


def known(history: History, name: str) -> dict[float, float]:
    """The points of a line that are known, by how many minutes ago their stretch began."""
    points = zip(history.times, history.lines[name], strict=True)
    return {(NOW - at).total_seconds() // 30 / 2: point for at, point in points if point is not None}


@pytest.mark.parametrize(("hours", "step"), [(0.1, 10), (1, 30), (24, 720), (24 * 8, 5760), (1.01, 40)])
async def test_a_line_has_120_points_of_whole_periods_and_the_last_one_holds_now(
    room: Room, hours: float, step: float
) -> None:
    history = await room.read(hours)
    assert history.step == step
    assert len(history.times) == POINTS == 120
    assert history.times[-1] <= NOW < history.times[-1] + timedelta(seconds=step)
    assert history.times[0] <= NOW - timedelta(hours=hours) + timedelta(seconds=step)
    assert set(history.lines) == {*COUNTED, *MEASURED, *TIMES}
    assert {len(line) for line in history.lines.values()} == {POINTS}


async def test_what_is_counted_becomes_a_rate_what_is_measured_stays_and_times_become_percentiles(room: Room) -> None:
    await room.sampled(minutes_ago=10, shipped=50, waiting=7, times={step_of(1.0): 10})
    history = await room.read()
    assert known(history, "shipped") == {10.5: 5.0}
    assert known(history, "waiting") == {10.5: 7}
    assert 0.7 < known(history, "to_shipped_p50")[10.5] < known(history, "to_shipped_p95")[10.5] < 1.5


async def test_a_time_in_which_nobody_looked_stays_a_gap_and_a_nought_is_none(room: Room) -> None:
    await room.sampled(minutes_ago=20, shipped=0)
    await room.sampled(minutes_ago=18, shipped=10)
    assert known(await room.read(), "shipped") == {20.5: 0.0, 18.5: 1.0}


async def test_a_rate_is_of_the_periods_there_are_not_of_those_that_are_missing(room: Room) -> None:
    await room.sampled(minutes_ago=100, shipped=100)
    assert list(known(await room.read(24), "shipped").values()) == [10.0]


async def test_what_was_worked_out_to_be_below_nought_is_nought(room: Room) -> None:
    await room.sampled(minutes_ago=5, published=-3)
    assert known(await room.read(), "published") == {5.5: 0.0}


async def test_many_readers_ask_the_store_once(room: Room) -> None:
    await asyncio.gather(*(room.read() for _ in range(50)), *(room.read(24) for _ in range(50)))
    assert room.samples.read == 2


@pytest.mark.parametrize(("hours", "seconds"), [(1, 8), (24, 60)])
async def test_an_hour_is_read_again_after_seconds_and_a_day_after_a_minute(
    room: Room, hours: float, seconds: float
) -> None:
    await room.read(hours)
    room.seconds += seconds - 1
    await room.read(hours)
    assert room.samples.read == 1
    room.seconds += 1
    await room.read(hours)
    assert room.samples.read == 2


async def test_the_hours_remembered_are_few_whatever_is_asked_for(room: Room) -> None:
    for hours in range(1, 100):
        await room.read(hours)
    await room.read(99)
    await room.read(1)
    assert room.samples.read == 100


async def test_while_the_store_is_away_what_was_last_known_is_told_else_gaps(room: Room) -> None:
    await room.sampled(minutes_ago=3, shipped=10)
    before = await room.read()
    room.samples.is_down = True
    room.seconds += 100
    assert await room.read() == before
    nothing = await room.read(24)
    assert set(nothing.lines["shipped"]) == {None}
    room.samples.is_down = False
    assert known(await room.read(24), "shipped")


@pytest.mark.parametrize("hours", [0, -1, 0.01, 1e9, float("nan"), float("inf")])
async def test_hours_that_are_no_stretch_of_time_are_refused(room: Room, hours: float) -> None:
    with pytest.raises(ValueError, match="hours"):
        await room.read(hours)

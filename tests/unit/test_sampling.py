"""Making samples: one a period, whoever makes it, of what could be seen."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.rabbitmq.depths import QueueLook
from tests.support.fake_samples import FakeSamples
from tests.unit.test_overview import a_report, the_looks, the_store
from worker.domain.counts import Counts
from worker.domain.errors import StoreUnavailableError
from worker.domain.periods import Period
from worker.domain.samples import PERIOD
from worker.overview_picture import Looks, StoreLook
from worker.sampling import Sampler

END = datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC)


class TimeIsOverError(Exception):
    """The test has seen enough."""


class Room:
    """Two servers that answer as they are told, and time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = END
        self.samples = FakeSamples()
        self.broker: Looks | str = the_looks()
        self.store: StoreLook | str | None = None
        self.reports: list[dict[str, Any]] = []
        self.looked: list[str] = []
        self.away = (END, END)
        """From when until when the samples cannot be stored."""
        self.over = END + timedelta(days=1)

    @property
    def delays(self) -> Sequence[str]:
        return ["1s", "5s"]

    def sampler(self) -> Sampler:
        return Sampler(self.samples, self, retention=timedelta(days=8), clock=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.samples.is_down = self.away[0] <= self.now < self.away[1]
        if self.now > self.over:
            raise TimeIsOverError
        await asyncio.sleep(0)

    async def look_at_broker(self) -> Looks | str:
        self.looked.append("broker")
        return self.broker

    async def look_at_work(self) -> StoreLook | str:
        self.looked.append("store")
        return self.store or the_store(*self.reports, open_by_reason={"malformed": 2, "expired": 3})

    def report(self, name: str, *, in_flight: int = 0, at: datetime = END, **counts: Any) -> None:
        period = Period(at, in_flight, Counts(**counts))
        self.reports.append({**a_report(name), "seen_at": at, "periods": [period.document()]})


@pytest.fixture
def room() -> Room:
    return Room()


async def test_a_sample_adds_up_what_every_worker_did_in_the_period_and_shows_how_everything_is(room: Room) -> None:
    room.broker = the_looks(work=QueueLook(30, 2), notices=QueueLook(5, 2), dlq=QueueLook(6, 2))
    room.report("w-1", in_flight=7, shipped=10, retried=1)
    room.report("w-2", in_flight=3, shipped=20, failed=2)
    room.report("w-3", at=END - PERIOD, shipped=1000)
    room.reports[0]["circuit"] = "open"
    assert await room.sampler().take(END)
    sample = room.samples.filled[END]
    assert sample.counted == {"published": None, "shipped": 30, "retried": 1, "deferred": 0, "failed": 2}
    assert sample.measured == {
        "waiting": 30,
        "delayed": 4,
        "in_flight": 10,
        "notices_waiting": 5,
        "letters_waiting": 6,
        "open_letters": 5,
        "oldest_waiting": None,
        "workers": 3,
        "circuits_open": 1,
    }
    assert room.samples.claimed == {END: END + timedelta(days=8)}


async def test_of_all_who_could_one_makes_the_sample_and_the_others_look_at_nothing(room: Room) -> None:
    made = await asyncio.gather(*(room.sampler().take(END) for _ in range(10)))
    assert sorted(made) == [False] * 9 + [True]
    assert room.looked == ["broker", "store"]


async def test_the_queues_are_looked_at_at_once_and_the_workers_when_they_have_reported(room: Room) -> None:
    await room.sampler().take(END)
    assert room.now == END + timedelta(seconds=3)


async def test_what_was_published_is_what_left_and_what_is_held_more_than_before(room: Room) -> None:
    room.broker = the_looks(work=QueueLook(100, 1))
    room.report("w-1", in_flight=10)
    await room.sampler().take(END)
    room.reports, later = [], END + PERIOD
    room.broker = the_looks(work=QueueLook(60, 1))
    room.report("w-1", in_flight=12, at=later, shipped=50, duplicates=1, failed=4, retried=30)
    await room.sampler().take(later)
    assert room.samples.filled[later].counted["published"] == 50 + 1 + 4 - 40 + 2


async def test_after_a_gap_nobody_can_tell_what_was_published(room: Room) -> None:
    await room.sampler().take(END)
    await room.sampler().take(END + 2 * PERIOD)
    assert room.samples.filled[END + 2 * PERIOD].counted["published"] is None


async def test_without_the_broker_the_rest_is_kept(room: Room) -> None:
    room.broker = "RabbitMQ is not reachable: refused"
    room.report("w-1", in_flight=2, shipped=5)
    await room.sampler().take(END)
    sample = room.samples.filled[END]
    assert (sample.counted["shipped"], sample.counted["published"]) == (5, None)
    assert (sample.measured["waiting"], sample.measured["delayed"], sample.measured["in_flight"]) == (None, None, 2)


async def test_a_store_that_goes_away_between_claim_and_look_leaves_a_gap(room: Room) -> None:
    room.store = "MongoDB does not answer: refused"
    with pytest.raises(StoreUnavailableError):
        await room.sampler().take(END)
    assert room.samples.filled == {}


async def test_one_sample_follows_the_other_and_a_period_without_the_store_is_left_out(room: Room) -> None:
    room.now = END - timedelta(seconds=4)
    room.away = (END + timedelta(seconds=15), END + timedelta(seconds=25))
    room.over = END + timedelta(seconds=45)
    with pytest.raises(TimeIsOverError):
        await room.sampler().run()
    assert [(at - END).total_seconds() for at in room.samples.filled] == [0, 10, 30, 40]

"""The feed: one picture for all who watch, and what was last known while a server is away."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.rabbitmq.depths import QueueLook
from tests.support.fake_samples import FakeSamples
from tests.unit.test_overview import a_report, the_looks, the_store
from worker.domain.counts import Counts
from worker.feed import LivePicture, OverviewFeed
from worker.history import HistoryReader
from worker.overview_picture import Looks, StoreLook
from worker.problem import sentences

START = datetime(2026, 3, 1, 12, 3, tzinfo=UTC)


class Room:
    """Two servers that answer as they are told, and a clock."""

    def __init__(self) -> None:
        self.now = START
        self.broker: Looks | str | Exception = the_looks()
        self.reports: dict[str, Any] = {}
        self.store: StoreLook | str | Exception | None = None
        self.hangs: set[str] = set()
        self.goes_on = asyncio.Event()
        self.asked: Counter[str] = Counter()
        self.samples = FakeSamples()
        history = HistoryReader(self.samples, clock=lambda: self.now)
        self.feed = OverviewFeed(self, history=history, clock=lambda: self.now)

    @property
    def delays(self) -> Sequence[str]:
        return ["1s", "5s"]

    async def look_at_broker(self) -> Looks | str:
        await self.answering("RabbitMQ")
        if isinstance(self.broker, Exception):
            raise self.broker
        return self.broker

    async def look_at_store(self) -> StoreLook | str:
        await self.answering("MongoDB")
        if isinstance(self.store, Exception):
            raise self.store
        return self.store or the_store(
            {**a_report(), "seen_at": self.now, "counts": Counts().document(), **self.reports}
        )

    async def answering(self, server: str) -> None:
        self.asked[server] += 1
        if server in self.hangs:
            await self.goes_on.wait()

    async def look(self, *, after: float = 0.0) -> LivePicture:
        """A picture that is made so many seconds later."""
        self.now += timedelta(seconds=after)
        await self.feed.look()
        return self.feed.latest()


def told(picture: LivePicture) -> list[str]:
    return sentences(picture.problems, now=picture.taken_at)


@pytest.fixture
def room() -> Room:
    return Room()


async def test_each_look_is_a_picture_with_a_higher_number(room: Room) -> None:
    first, second = await room.look(), await room.look(after=1)
    assert (first.number, second.number) == (1, 2)
    assert (first.problems, first.last_known, first.overview.unreachable) == ([], {}, {})
    assert (second.taken_at, second.overview.taken_at) == (room.now, room.now)


async def test_fifty_watchers_get_the_next_picture_and_each_server_is_asked_once(room: Room) -> None:
    first = await room.look()
    watchers = [asyncio.create_task(room.feed.next(after=first.number)) for _ in range(50)]
    await asyncio.sleep(0)
    second = await room.look(after=1)
    assert await asyncio.gather(*watchers) == [second] * 50
    assert room.asked == {"RabbitMQ": 2, "MongoDB": 2}


async def test_a_watcher_who_missed_some_gets_the_newest_at_once(room: Room) -> None:
    for _ in range(3):
        await room.look()
    assert (await room.feed.next(after=1)).number == 3


async def test_a_watcher_who_goes_away_is_missed_by_nobody(room: Room) -> None:
    await room.look()
    gone = asyncio.create_task(room.feed.next(after=1))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await room.look()).number == 2


async def test_without_the_broker_its_queues_are_shown_as_last_known_and_since_when(room: Room) -> None:
    room.broker = the_looks(work=QueueLook(42, 1))
    await room.look()
    seen_at, room.broker = room.now, "RabbitMQ is not reachable: connection refused"
    picture = await room.look(after=70)
    assert told(picture)[0] == (
        "RabbitMQ not reachable since 12:03 UTC: showing what was last known (connection refused)"
    )
    assert picture.overview.queues[0].ready == 42
    assert picture.last_known == {"RabbitMQ": seen_at}
    assert list(picture.overview.unreachable) == ["RabbitMQ"]
    assert picture.taken_at == room.now

    room.broker = the_looks(work=QueueLook(7, 1))
    picture = await room.look(after=1)
    assert (told(picture), picture.last_known, picture.overview.queues[0].ready) == ([], {}, 7)


async def test_without_the_store_workers_and_rates_are_shown_as_they_were_and_nobody_is_called_lost(room: Room) -> None:
    for second in range(10):
        room.reports = {"counts": Counts(shipped=3 * second).document()}
        await room.look(after=1)
    shipped = room.feed.latest().rates.shipped
    room.store = "MongoDB did not answer within 5 s"
    picture = await room.look(after=3600)
    assert picture.rates.shipped == shipped == pytest.approx(3)
    assert picture.overview.workers is not None
    assert [worker.lost for worker in picture.overview.workers] == [False]
    assert told(picture) == [
        "MongoDB not reachable since 12:03 UTC: showing what was last known (MongoDB did not answer within 5 s)"
    ]


async def test_an_outage_of_yesterday_is_told_with_its_date(room: Room) -> None:
    await room.look()
    room.store = "MongoDB does not answer: no route"
    picture = await room.look(after=86400)
    assert told(picture)[0].startswith("MongoDB not reachable since 2026-03-01 12:03 UTC: ")


async def test_where_nothing_was_ever_known_the_reason_stands_alone(room: Room) -> None:
    room.broker = "RabbitMQ is not reachable: connection refused"
    picture = await room.look()
    assert told(picture) == ["RabbitMQ is not reachable: connection refused"]
    assert (picture.last_known, picture.overview.delayed, picture.rates.published) == ({}, None, None)


async def test_a_server_that_hangs_holds_the_picture_up_for_a_second_and_is_asked_one_question_at_a_time(
    room: Room,
) -> None:
    room.hangs = {"RabbitMQ"}
    async with asyncio.timeout(5):
        first = await room.look()
        await room.look()
    assert told(first) == ["RabbitMQ has not answered yet"]
    assert first.overview.shipments == {"SHIPPED": 7}
    assert room.asked == {"RabbitMQ": 1, "MongoDB": 2}
    room.goes_on.set()
    assert (await room.look()).problems == []
    room.goes_on.clear()
    await room.look()
    await room.feed.stop()


async def test_a_fault_in_a_look_is_told_and_ends_no_feed(room: Room) -> None:
    await room.look()
    room.store = ZeroDivisionError("a bug")
    picture = await room.look(after=1)
    assert told(picture)[0].endswith("showing what was last known (ZeroDivisionError)")
    room.store = None
    assert (await room.look(after=1)).problems == []


async def test_a_feed_tells_the_history_and_without_the_store_gaps(room: Room) -> None:
    room.samples.is_down = True
    history = await room.feed.history(hours=1)
    assert set(history.lines["shipped"]) == {None}
    assert history.times[-1] <= room.now

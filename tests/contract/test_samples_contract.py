"""What every `ISamples` must do: the fake of the unit tests and the real store alike."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.mongodb.samples import MongoSamples
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.support.fake_samples import FakeSamples
from tests.support.system import eventually
from worker.domain.samples import COUNTED, MEASURED, PERIOD, Sample

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LONG = START + timedelta(days=36500)
MINUTE = timedelta(minutes=1)
Samples = FakeSamples | MongoSamples


@pytest.fixture
async def store(mongo: Mongo) -> AsyncIterator[MongoStore]:
    opened = MongoStore(mongo.uri, database=mongo.database)
    await opened.ensure_indexes("samples")
    yield opened
    await opened.close()


@pytest.fixture(params=["fake", "mongodb"])
def samples(request: pytest.FixtureRequest) -> Samples:
    return FakeSamples() if request.param == "fake" else MongoSamples(request.getfixturevalue("store"))


def a_sample(periods: int = 1, *, times: dict[int, int] | None = None, **figures: Any) -> Sample:
    """The sample of the period that ends so many periods after the start."""
    return Sample(
        START + periods * PERIOD,
        counted={name: figures.get(name, 0) for name in COUNTED},
        measured={name: figures.get(name, 0) for name in MEASURED},
        times=times or {},
    )


async def keep(samples: Samples, *kept: Sample) -> None:
    for sample in kept:
        assert await samples.claim(sample.at, keep_until=LONG)
        await samples.fill(sample)


async def test_a_sample_comes_back_as_it_was_stored(samples: Samples) -> None:
    sample = a_sample(shipped=17, published=None, oldest_waiting=3.25, waiting=None, times={0: 2, 54: 1})
    await keep(samples, sample)
    assert await samples.get(sample.at) == sample
    assert await samples.get(sample.at + PERIOD) is None


async def test_of_many_who_claim_a_period_at_once_one_gets_it(samples: Samples) -> None:
    claims = await asyncio.gather(
        *(samples.claim(START, keep_until=LONG + timedelta(seconds=number)) for number in range(20))
    )
    assert sorted(claims) == [False] * 19 + [True]
    assert await samples.claim(START + PERIOD, keep_until=LONG)


async def test_a_claim_that_was_never_filled_is_no_sample(samples: Samples) -> None:
    await samples.claim(START, keep_until=LONG)
    assert await samples.get(START) is None
    assert await samples.slots(since=START - MINUTE, until=START, step=MINUTE) == []


async def test_filling_twice_is_filling_once_and_what_nobody_claimed_is_not_stored(samples: Samples) -> None:
    await keep(samples, a_sample(shipped=5))
    await samples.fill(a_sample(shipped=5))
    await samples.fill(a_sample(2, shipped=7))
    (slot,) = await samples.slots(since=START, until=START + MINUTE, step=MINUTE)
    assert slot.counted["shipped"] == 5


async def test_a_slot_has_the_average_of_what_is_counted_the_highest_of_what_is_measured_and_all_times(
    samples: Samples,
) -> None:
    await keep(
        samples,
        a_sample(1, shipped=10, waiting=3, oldest_waiting=0.5, times={3: 1, 7: 2}),
        a_sample(2, shipped=40, waiting=9, oldest_waiting=None, times={7: 5}),
        a_sample(3, shipped=10, waiting=6, oldest_waiting=2.5),
    )
    (slot,) = await samples.slots(since=START, until=START + MINUTE, step=MINUTE)
    assert (slot.start, slot.counted["shipped"], slot.measured["waiting"]) == (START, 20, 9)
    assert slot.measured["oldest_waiting"] == 2.5
    assert slot.times == {3: 1, 7: 7}


async def test_figures_that_nobody_could_tell_do_not_count_and_where_there_are_no_others_stay_unknown(
    samples: Samples,
) -> None:
    await keep(samples, a_sample(1, published=None, waiting=None), a_sample(2, published=6, waiting=None))
    (slot,) = await samples.slots(since=START, until=START + MINUTE, step=MINUTE)
    assert (slot.counted["published"], slot.measured["waiting"]) == (6, None)


async def test_slots_come_in_order_and_one_without_a_sample_does_not_exist(samples: Samples) -> None:
    await keep(samples, a_sample(20, shipped=3), a_sample(1, shipped=1))
    slots = await samples.slots(since=START, until=START + 5 * MINUTE, step=MINUTE)
    assert [(slot.start, slot.counted["shipped"]) for slot in slots] == [(START, 1), (START + 3 * MINUTE, 3)]


async def test_a_period_belongs_to_the_slot_it_ends_in_the_boundary_included(samples: Samples) -> None:
    await keep(samples, *(a_sample(number, shipped=number) for number in range(13)))
    slots = await samples.slots(since=START, until=START + 2 * MINUTE, step=MINUTE)
    assert [slot.start for slot in slots] == [START, START + MINUTE]
    assert [slot.counted["shipped"] for slot in slots] == [3.5, 9.5], "1 to 6, 7 to 12; 0 ended before"


async def test_a_sample_goes_when_its_time_is_over(store: MongoStore) -> None:
    samples = MongoSamples(store)
    await samples.claim(START, keep_until=START)
    await samples.fill(a_sample(0))
    await keep(samples, a_sample(1))

    async def is_gone() -> bool:
        return await samples.get(START) is None

    await eventually(is_gone, timeout=70)
    assert await samples.get(START + PERIOD) is not None

"""What every `IWorkerControls` must do: the fake of the unit tests and the real store alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from infra.mongodb.store import MongoStore
from infra.mongodb.worker_controls import MongoWorkerControls
from tests.conftest import Mongo
from tests.support.fake_controls import FakeWorkerControls
from tests.support.letters import NOW
from worker.domain.controls import ControlAction, Wish, Wishes

Controls = FakeWorkerControls | MongoWorkerControls
PAUSE = Wish(ControlAction.PAUSE, None, "anna", "migration", NOW, revision=1)
TEN = Wish(ControlAction.PREFETCH, "vm-$x.y\x00", "ünï \x1b[2J", "$where", NOW, revision=1, prefetch=10)


@pytest.fixture(params=["fake", "mongodb"])
async def controls(request: pytest.FixtureRequest) -> AsyncIterator[Controls]:
    if request.param == "fake":
        yield FakeWorkerControls()
        return
    mongo: Mongo = request.getfixturevalue("mongo")
    opened = MongoStore(mongo.uri, database=mongo.database)
    yield MongoWorkerControls(opened)
    await opened.close()


async def test_where_nothing_was_ever_wished_there_is_nothing(controls: Controls) -> None:
    assert await controls.read() == Wishes(0, ())


async def test_wishes_come_back_as_they_were_stored(controls: Controls) -> None:
    wishes = Wishes(1, (PAUSE, TEN, *(replace(PAUSE, action=action) for action in ControlAction)))
    assert await controls.replace(wishes, expected=0)
    assert await controls.read() == wishes
    assert await controls.replace(Wishes(2, ()), expected=1)
    assert await controls.read() == Wishes(2, ())


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_wishes_that_are_not_those_expected_stay(controls: Controls, expected: int) -> None:
    assert await controls.replace(Wishes(1, ()), expected=0)
    assert await controls.replace(Wishes(2, (PAUSE,)), expected=1)
    assert not await controls.replace(Wishes(expected + 1, ()), expected=expected)
    assert await controls.read() == Wishes(2, (PAUSE,))


async def test_nothing_replaces_what_is_not_there(controls: Controls) -> None:
    assert not await controls.replace(Wishes(5, ()), expected=4)
    assert await controls.read() == Wishes(0, ())


@pytest.mark.parametrize("before", [0, 1])
async def test_of_many_at_once_exactly_one_is_stored(controls: Controls, before: int) -> None:
    if before:
        assert await controls.replace(Wishes(1, ()), expected=0)
    new = [Wishes(before + 1, (replace(PAUSE, by=f"operator {number}"),)) for number in range(20)]
    stored = await asyncio.gather(*(controls.replace(wishes, expected=before) for wishes in new))
    assert stored.count(True) == 1
    assert await controls.read() == new[stored.index(True)]

"""What the stores of replay jobs must do with many letters and many callers: fakes and the real store alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from infra.mongodb.letter_documents import letter_document
from infra.mongodb.replay_claims import MongoReplayClaims
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.support.fake_replays import FakeReplayClaims, FakeReplayItems, FakeReplayJobs, FakeTime
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.replay_job import ItemState, JobState, ReplayItem, ReplayJob, ReplayOptions
from worker.domain.selection import DeadLetterState, Selection

SECOND = timedelta(seconds=1)
JOB = ReplayJob(
    "0badc0de", JobState.RAMP, Selection(state=DeadLetterState.OPEN), ReplayOptions(), "anna", "fixed", NOW, NOW
)


@dataclass
class Desk:
    """The stores, and how letters come into them, many at a time."""

    jobs: FakeReplayJobs | MongoReplayJobs
    items: FakeReplayItems | MongoReplayItems
    claims: FakeReplayClaims | MongoReplayClaims
    put: Callable[[list[DeadLetterRecord]], Awaitable[None]]
    page: int
    """How many letters `select` writes down at once."""

    async def selected(self, *letters: DeadLetterRecord) -> list[ReplayItem]:
        await self.put(list(letters))
        assert await self.items.select(JOB, after=None) is None
        return list(await self.items.next_waiting(JOB.id, limit=len(letters)))


@pytest.fixture(params=["fake", "mongodb"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "fake":
        letters = FakeDeadLetters()

        async def keep(new: list[DeadLetterRecord]) -> None:
            letters.letters.update({letter.id: letter for letter in new})

        items = FakeReplayItems(letters, page=50)
        yield Desk(FakeReplayJobs(FakeTime(NOW)), items, FakeReplayClaims(letters), keep, page=50)
        return
    mongo: Mongo = request.getfixturevalue("mongo")
    store = MongoStore(mongo.uri, database=mongo.database)
    await store.ensure_indexes()

    async def insert(new: list[DeadLetterRecord]) -> None:
        documents = [{"_id": letter.id, **letter_document(letter), "revision": 0} for letter in new]
        await store.collection("dead_letters").insert_many(documents)

    yield Desk(MongoReplayJobs(store), MongoReplayItems(store), MongoReplayClaims(store), insert, page=5_000)
    await store.close()


def dying(number: int, *, at_once: int) -> list[DeadLetterRecord]:
    """Letters of which so many died in the same moment, the last of them when the job began."""
    return [a_letter(dead_lettered_at=NOW - SECOND * (place // at_once)) for place in range(number)]


async def items_of(desk: Desk) -> list[ReplayItem]:
    return [item async for item in desk.items.of_job(JOB.id, states=list(ItemState), limit=10**6)]


@pytest.mark.parametrize("at_once", [7, 10**6], ids=["some of one moment", "all of one moment"])
async def test_a_selection_of_many_pages_is_written_down_without_gap_or_double(desk: Desk, at_once: int) -> None:
    letters = dying(2 * desk.page + 3, at_once=at_once)
    new = a_letter(dead_lettered_at=NOW + SECOND)
    await desk.put([*letters, new])
    pages, after = 1, await desk.items.select(JOB, after=None)
    while after is not None:
        assert len(await items_of(desk)) == pages * desk.page
        pages, after = pages + 1, await desk.items.select(JOB, after=after)
    found = await items_of(desk)
    assert pages == 3
    oldest_first = sorted(letters, key=lambda letter: (letter.dead_lettered_at, letter.id))
    assert [item.letter_id for item in found] == [letter.id for letter in oldest_first]


async def test_a_selection_whose_last_page_is_full_ends_all_the_same(desk: Desk) -> None:
    await desk.put(dying(desk.page, at_once=3))
    after = await desk.items.select(JOB, after=None)
    assert after is None or await desk.items.select(JOB, after=after) is None
    assert len(await items_of(desk)) == desk.page


async def test_a_selection_that_broke_off_may_begin_anew_although_letters_are_on_their_way(desk: Desk) -> None:
    await desk.put(dying(desk.page + 5, at_once=3))
    await desk.items.select(JOB, after=None)
    [first] = await desk.items.next_waiting(JOB.id, limit=1)
    sent = replace(first, state=ItemState.SENT, sent_at=NOW)
    await desk.items.record([sent])
    after = await desk.items.select(JOB, after=None)
    await desk.items.select(JOB, after=after)
    found = await items_of(desk)
    assert len(found) == len({item.letter_id for item in found}) == desk.page + 5
    assert found[0] == sent


async def test_two_runners_may_write_down_the_same_page_at_once(desk: Desk) -> None:
    await desk.put(dying(30, at_once=3))
    await asyncio.gather(*(desk.items.select(JOB, after=None) for _ in range(4)))
    assert len(await items_of(desk)) == 30


async def test_the_sum_counts_every_letter_once_and_the_overdue_among_those_on_their_way(desk: Desk) -> None:
    items = await desk.selected(*(a_letter() for _ in range(len(ItemState) + 2)))
    ends = [*ItemState, ItemState.SENT, ItemState.IN_DOUBT]
    late = {ItemState.SENT: NOW - SECOND, ItemState.IN_DOUBT: NOW - 2 * SECOND, ItemState.RESOLVED: NOW - SECOND}
    early, others = items[: len(ItemState)], items[len(ItemState) :]
    recorded = [replace(item, state=end, sent_at=late.get(end)) for item, end in zip(early, ends, strict=False)]
    recorded += [replace(item, state=end, sent_at=NOW) for item, end in zip(others, ends[-2:], strict=True)]
    await desk.items.record(recorded)
    tally = await desk.items.tally(JOB.id, overdue_before=NOW)
    assert tally.counts == dict.fromkeys(ItemState, 1) | {ItemState.SENT: 2, ItemState.IN_DOUBT: 2}
    assert (tally.overdue, tally.on_its_way) == (2, 4)
    assert (await desk.items.tally("another", overdue_before=NOW)).counts == {}


async def test_the_canaries_of_a_round_are_those_that_went_out_in_it(desk: Desk) -> None:
    first, second, _ = items = await desk.selected(*(a_letter() for _ in range(3)))
    await desk.items.record(
        [
            replace(first, state=ItemState.FAILED_AGAIN, round=1, ended_at=NOW),
            replace(second, state=ItemState.SENT, round=2, sent_at=NOW),
        ]
    )
    rounds = [await desk.items.canaries(JOB.id, canary_round=number) for number in (1, 2, 3)]
    assert [[item.letter_id for item in found] for found in rounds] == [[first.letter_id], [second.letter_id], []]
    await desk.items.record([replace(second, round=0)])
    assert await desk.items.canaries(JOB.id, canary_round=2) == []
    assert len(items) == 3


async def test_of_many_runners_that_reach_for_a_job_at_once_one_gets_it(desk: Desk) -> None:
    await desk.jobs.add(JOB)
    held = await asyncio.gather(*(desk.jobs.hold(f"w-{number}", seconds=60.0) for number in range(10)))
    [got] = [job for job in held if job is not None]
    assert got.runner == f"w-{held.index(got)}"
    assert await desk.jobs.hold(str(got.runner), seconds=60.0) is not None


async def test_only_whoever_holds_a_job_gives_it_up(desk: Desk) -> None:
    await desk.jobs.add(JOB)
    await desk.jobs.hold("w-1", seconds=60.0)
    await desk.jobs.release("w-2")
    assert await desk.jobs.hold("w-2", seconds=60.0) is None
    await desk.jobs.release("w-1")
    assert await desk.jobs.hold("w-2", seconds=60.0) is not None


async def test_of_many_that_send_the_same_letter_again_at_once_one_does(desk: Desk) -> None:
    items = await desk.selected(*(a_letter() for _ in range(20)))
    replays = {item.letter_id: item.replay_id for item in items}
    await desk.claims.claim(replays, job_id=JOB.id, by="anna", now=NOW)
    later = NOW + SECOND
    answers = await asyncio.gather(
        *(desk.claims.claim_again(replays, claimed_before=later, now=later) for _ in range(6))
    )
    for letter_id in replays:
        assert [answer[letter_id].fresh for answer in answers].count(True) == 1


async def test_a_letter_that_was_claimed_just_now_is_not_sent_again_by_another(desk: Desk) -> None:
    [item] = await desk.selected(a_letter())
    replays = {item.letter_id: item.replay_id}
    await desk.claims.claim(replays, job_id=JOB.id, by="anna", now=NOW)
    found = await desk.claims.claim_again(replays, claimed_before=NOW, now=NOW + SECOND)
    assert not found[item.letter_id].fresh
    assert (await desk.claims.claim_again(replays, claimed_before=NOW + SECOND, now=NOW + SECOND))[item.letter_id].fresh
    found = await desk.claims.claim_again(replays, claimed_before=NOW + SECOND, now=NOW + 2 * SECOND)
    assert not found[item.letter_id].fresh


async def test_a_letter_given_back_says_why_and_one_that_has_left_the_replay_is_not_given_back(desk: Desk) -> None:
    item, other = await desk.selected(a_letter(), a_letter())
    await desk.claims.claim({item.letter_id: item.replay_id}, job_id=JOB.id, by="anna", now=NOW)
    both = {item.letter_id: item.replay_id, other.letter_id: other.replay_id}
    await desk.claims.give_back({item.letter_id: "another"}, now=NOW, note="no")
    [letter] = await desk.claims.look([item.letter_id], settled_only=False)
    assert letter.state is DeadLetterState.REPLAYING
    await desk.claims.give_back(both, now=NOW, note="no queue is bound")
    given_back, untouched = await asyncio.gather(
        desk.claims.look([item.letter_id], settled_only=True), desk.claims.look([other.letter_id], settled_only=True)
    )
    assert (given_back[0].state, given_back[0].history[-1].note) == (DeadLetterState.OPEN, "no queue is bound")
    assert [event.event for event in untouched[0].history] == ["filed"]


async def test_calls_about_no_letters_and_about_letters_that_are_gone_change_nothing(desk: Desk) -> None:
    gone = {"gone": "r-1"}
    for replays in ({}, gone):
        assert await desk.claims.claim(replays, job_id=JOB.id, by="anna", now=NOW) == {}
        assert await desk.claims.claim_again(replays, claimed_before=NOW, now=NOW) == {}
        await desk.claims.confirm(replays, now=NOW)
        await desk.claims.give_back(replays, now=NOW, note="no")
        assert await desk.claims.look(list(replays), settled_only=False) == []
    await desk.items.record([])

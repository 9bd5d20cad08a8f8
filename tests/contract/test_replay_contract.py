"""What the stores of replay jobs must do: the fakes of the unit tests and the real store alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.large_bodies import PIECE
from infra.mongodb.replay_claims import MongoReplayClaims
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.support.fake_replays import FakeReplayClaims, FakeReplayItems, FakeReplayJobs, FakeTime
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.errors import JobConflictError
from worker.domain.replay import Origin
from worker.domain.replay_job import ItemState, JobState, ReplayItem, ReplayJob, ReplayOptions
from worker.domain.selection import DeadLetterState, Selection

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
LATER = NOW + timedelta(minutes=5)


@dataclass
class Stores:
    """The three stores, and the letters they work on."""

    jobs: FakeReplayJobs | MongoReplayJobs
    items: FakeReplayItems | MongoReplayItems
    claims: FakeReplayClaims | MongoReplayClaims
    letters: FakeDeadLetters | MongoDeadLetters
    time: FakeTime | None

    async def put(self, *letters: DeadLetterRecord) -> None:
        for letter in letters:
            assert await self.letters.insert(letter) is None

    async def wait(self, seconds: float) -> None:
        """Let time pass, by the store's clock."""
        if self.time is None:
            await asyncio.sleep(seconds)
        else:
            self.time.pass_by(seconds)

    async def selected(self, job: ReplayJob) -> list[ReplayItem]:
        """Write the job's letters down; return its items, those longest dead first."""
        page = await self.items.select(job, after=None)
        while page is not None:
            page = await self.items.select(job, after=page)
        return list(await self.items.next_waiting(job.id, limit=1000))


@pytest.fixture(params=["fake", "mongodb"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "fake":
        time, letters = FakeTime(NOW), FakeDeadLetters()
        yield Stores(FakeReplayJobs(time), FakeReplayItems(letters), FakeReplayClaims(letters), letters, time)
        return
    mongo: Mongo = request.getfixturevalue("mongo")
    opened = MongoStore(mongo.uri, database=mongo.database)
    await opened.ensure_indexes()
    yield Stores(
        MongoReplayJobs(opened), MongoReplayItems(opened), MongoReplayClaims(opened), MongoDeadLetters(opened), None
    )
    await opened.close()


def a_job(name: str = "0badc0de", state: JobState = JobState.RAMP, **fields: object) -> ReplayJob:
    selection = Selection(state=OPEN, since=NOW - timedelta(days=1))
    job = ReplayJob(name, state, selection, ReplayOptions(target=Origin("x", "k")), "anna", "fixed", LATER, LATER)
    return replace(job, **fields)  # type: ignore[arg-type] # whatever a test wants to differ


# The jobs


async def test_a_job_comes_back_as_it_was_stored(stores: Stores) -> None:
    job = a_job(
        total=3, because="why", note="what", round=2, cutoff=NOW, selection=Selection(ids=("a", "b"), state=OPEN)
    )
    assert await stores.jobs.add(job) is None
    assert await stores.jobs.get(job.id) == job
    assert await stores.jobs.get("nothing") is None
    assert await stores.jobs.ids_starting_with("0bad", limit=5) == [job.id]


async def test_of_many_jobs_that_start_at_once_one_is_active_and_the_others_are_told_which(stores: Stores) -> None:
    answers = await asyncio.gather(*(stores.jobs.add(a_job(f"job{number}")) for number in range(8)))
    assert answers.count(None) == 1
    first = (await stores.jobs.latest(limit=9))[0]
    assert {answer.id for answer in answers if answer is not None} == {first.id}


@pytest.mark.parametrize("over", [JobState.DONE, JobState.CANCELLED, JobState.STOPPED])
async def test_a_job_that_is_not_active_keeps_no_other_from_starting(stores: Stores, over: JobState) -> None:
    await stores.jobs.add(a_job("old"))
    assert await stores.jobs.move(a_job("old", over), expected=a_job("old"))
    assert await stores.jobs.add(a_job("new")) is None


async def test_a_stopped_job_cannot_become_active_beside_another(stores: Stores) -> None:
    await stores.jobs.add(a_job("old"))
    await stores.jobs.move(a_job("old", JobState.STOPPED), expected=a_job("old"))
    await stores.jobs.add(a_job("new"))
    with pytest.raises(JobConflictError):
        await stores.jobs.move(a_job("old", JobState.CANARY), expected=a_job("old", JobState.STOPPED))
    stored = await stores.jobs.get("old")
    assert stored is not None
    assert stored.state is JobState.STOPPED


async def test_a_move_from_a_state_the_job_has_left_or_come_back_to_stores_nothing(stores: Stores) -> None:
    await stores.jobs.add(a_job())
    assert not await stores.jobs.move(a_job(state=JobState.DONE), expected=a_job(state=JobState.CANARY))
    earlier = a_job(state_since=NOW)
    assert not await stores.jobs.move(a_job(state=JobState.DONE), expected=earlier)
    assert await stores.jobs.get("0badc0de") == a_job()


async def test_of_two_moves_at_once_one_is_stored(stores: Stores) -> None:
    await stores.jobs.add(a_job())
    moves = [a_job(state=JobState.PAUSED), a_job(state=JobState.SETTLING)]
    moved = await asyncio.gather(*(stores.jobs.move(move, expected=a_job()) for move in moves))
    assert sorted(moved) == [False, True]


async def test_one_runner_holds_a_job_and_another_gets_it_when_that_one_does_not_come_back(stores: Stores) -> None:
    await stores.jobs.add(a_job())
    held = await asyncio.gather(*(stores.jobs.hold(f"w{number}", seconds=0.5) for number in range(5)))
    [first] = [job for job in held if job is not None]
    assert first.runner is not None
    assert await stores.jobs.hold(first.runner, seconds=0.5) is not None
    assert await stores.jobs.hold("another", seconds=0.5) is None
    await stores.wait(0.7)
    taken = await stores.jobs.hold("another", seconds=0.5)
    assert taken is not None
    assert taken.runner == "another"


async def test_a_released_job_can_be_held_at_once_and_one_that_is_not_running_by_nobody(stores: Stores) -> None:
    await stores.jobs.add(a_job())
    assert await stores.jobs.hold("a", seconds=60) is not None
    await stores.jobs.release("a")
    assert await stores.jobs.hold("b", seconds=60) is not None
    assert await stores.jobs.move(a_job(state=JobState.PAUSED), expected=a_job())
    assert await stores.jobs.hold("b", seconds=60) is None


async def test_a_note_is_kept_for_a_running_job_only(stores: Stores) -> None:
    await stores.jobs.add(a_job())
    await stores.jobs.note("0badc0de", "waits")
    assert await stores.jobs.get("0badc0de") == a_job(note="waits")
    await stores.jobs.move(a_job(state=JobState.CANCELLED), expected=a_job())
    await stores.jobs.note("0badc0de", "waits")
    assert await stores.jobs.get("0badc0de") == a_job(state=JobState.CANCELLED)


# The items


async def test_a_job_s_letters_are_the_open_ones_that_match_and_are_not_too_new_oldest_first(stores: Stores) -> None:
    old, new = a_letter(dead_lettered_at=NOW, body=b"12345"), a_letter(dead_lettered_at=LATER)
    others = [
        a_letter(dead_lettered_at=LATER + timedelta(milliseconds=1)),
        a_letter(state=DeadLetterState.DISCARDED),
        a_letter(dead_lettered_at=NOW - timedelta(days=2)),
    ]
    await stores.put(new, *others, old)
    items = await stores.selected(a_job())
    assert [(item.letter_id, item.state) for item in items] == [
        (old.id, ItemState.WAITING),
        (new.id, ItemState.WAITING),
    ]
    assert items[0].size == 5


async def test_letters_that_are_written_down_already_stay_as_they_are(stores: Stores) -> None:
    await stores.put(a_letter(), a_letter())
    first, _ = await stores.selected(a_job())
    await stores.items.record([replace(first, state=ItemState.SENT, sent_at=NOW)])
    assert len(await stores.selected(a_job())) == 1
    assert (await stores.items.tally("0badc0de", overdue_before=NOW)).counts == {
        ItemState.SENT: 1,
        ItemState.WAITING: 1,
    }


async def test_what_has_ended_stays_as_it_ended(stores: Stores) -> None:
    await stores.put(a_letter())
    [item] = await stores.selected(a_job())
    await stores.items.record([replace(item, state=ItemState.RESOLVED, ended_at=NOW)])
    await stores.items.record([replace(item, state=ItemState.SENT, sent_at=NOW)])
    found = [found async for found in stores.items.of_job("0badc0de", states=list(ItemState), limit=9)]
    assert [found.state for found in found] == [ItemState.RESOLVED]


async def test_the_copies_on_their_way_are_found_for_one_job_and_for_all(stores: Stores) -> None:
    await stores.put(a_letter(), a_letter(), a_letter())
    one, two, three = await stores.selected(a_job())
    await stores.items.record(
        [
            replace(one, state=ItemState.IN_DOUBT, sent_at=LATER, round=1, why="no answer"),
            replace(two, state=ItemState.SENT, sent_at=NOW),
            replace(three, state=ItemState.RESOLVED, ended_at=NOW),
        ]
    )
    of_job = [item async for item in stores.items.on_their_way("0badc0de", limit=9)]
    assert [item.letter_id for item in of_job] == [two.letter_id, one.letter_id]
    assert [item async for item in stores.items.on_their_way(None, limit=9)] == of_job
    assert [item async for item in stores.items.on_their_way("another", limit=9)] == []
    assert [item.letter_id for item in await stores.items.canaries("0badc0de", canary_round=1)] == [one.letter_id]
    tally = await stores.items.tally("0badc0de", overdue_before=LATER)
    assert (tally.on_its_way, tally.overdue, tally.of(ItemState.RESOLVED)) == (2, 1, 1)


async def test_the_last_outcomes_come_newest_first_and_only_those_since(stores: Stores) -> None:
    await stores.put(*(a_letter() for _ in range(4)))
    items = await stores.selected(a_job())
    ends = [ItemState.RESOLVED, ItemState.FAILED_AGAIN, ItemState.NOT_SENT, ItemState.SKIPPED]
    ended = [
        replace(item, state=state, ended_at=NOW + timedelta(seconds=number), failed_as="f", why="w")
        for number, (item, state) in enumerate(zip(items, ends, strict=True))
    ]
    await stores.items.record(ended)
    found = await stores.items.last_ended("0badc0de", since=NOW + timedelta(seconds=1), limit=5)
    assert list(found) == [ended[2], ended[1]]


# The claims


def replays(*letters: DeadLetterRecord, job: str = "j") -> dict[str, str]:
    return {letter.id: ReplayItem(job, letter.id, 0).replay_id for letter in letters}


async def test_open_letters_are_claimed_with_their_bodies_and_others_are_told_as_they_are(stores: Stores) -> None:
    one, two = a_letter(body=b"\x00one"), a_letter(state=DeadLetterState.RESOLVED)
    await stores.put(one, two)
    wanted = {**replays(one, two), "nothing": "11111111-2222-3333-4444-555555555555"}
    found = await stores.claims.claim(wanted, job_id="j", by="anna", now=LATER)
    assert set(found) == {one.id, two.id}
    assert (found[one.id].fresh, found[one.id].letter.body, found[one.id].letter.state) == (True, b"\x00one", REPLAYING)
    assert (found[two.id].fresh, found[two.id].letter.state) == (False, DeadLetterState.RESOLVED)
    stored = await stores.letters.get(one.id)
    assert stored is not None
    assert (stored.job_id, stored.replay_id) == ("j", wanted[one.id])
    assert (stored.history[-1].event, stored.history[-1].by, stored.history[-1].job_id) == ("replayed", "anna", "j")


async def test_of_many_claims_of_the_same_letters_at_once_each_letter_is_fresh_in_one(stores: Stores) -> None:
    letters = [a_letter() for _ in range(30)]
    await stores.put(*letters)
    claims = [stores.claims.claim(replays(*letters), job_id="j", by="anna", now=LATER) for _ in range(6)]
    fresh = [letter_id for found in await asyncio.gather(*claims) for letter_id in found if found[letter_id].fresh]
    assert sorted(fresh) == sorted(letter.id for letter in letters)


async def test_a_letter_that_came_back_from_this_very_replay_is_not_taken_again_but_by_another_job(
    stores: Stores,
) -> None:
    letter = a_letter()
    await stores.put(letter)
    await stores.claims.claim(replays(letter), job_id="j", by="anna", now=LATER)
    await stores.claims.give_back(replays(letter), now=LATER, note="the exchange is gone")
    again = await stores.claims.claim(replays(letter), job_id="j", by="anna", now=LATER)
    assert (again[letter.id].fresh, again[letter.id].letter.state) == (False, OPEN)
    assert again[letter.id].letter.history[-1].note == "the exchange is gone"
    other = await stores.claims.claim(replays(letter, job="k"), job_id="k", by="anna", now=LATER)
    assert other[letter.id].fresh


async def test_only_what_is_neither_confirmed_nor_taken_is_claimed_once_more(stores: Stores) -> None:
    silent, confirmed, taken = letters = [a_letter() for _ in range(3)]
    await stores.put(*letters)
    wanted = replays(*letters)
    await stores.claims.claim(wanted, job_id="j", by="anna", now=LATER)
    await stores.claims.confirm({confirmed.id: wanted[confirmed.id]}, now=LATER)
    await stores.letters.mark_taken(taken.id, replay_id=wanted[taken.id], by="w", now=LATER)
    found = await stores.claims.claim_again(wanted, claimed_before=LATER + timedelta(seconds=1), now=LATER)
    assert {letter_id: claim.fresh for letter_id, claim in found.items()} == {
        silent.id: True,
        confirmed.id: False,
        taken.id: False,
    }
    assert found[confirmed.id].confirmed
    assert found[silent.id].letter.body == silent.body


async def test_a_job_s_claim_is_not_abandoned_to_the_sweep(stores: Stores) -> None:
    letter = a_letter()
    await stores.put(letter)
    await stores.claims.claim(replays(letter), job_id="j", by="anna", now=NOW)
    assert await stores.letters.reopen_abandoned(claimed_before=LATER, now=LATER) == 0


async def test_a_look_tells_letters_without_their_bodies_and_the_settled_ones_alone_when_asked(stores: Stores) -> None:
    one, two = a_letter(), a_letter()
    await stores.put(one, two)
    await stores.claims.claim(replays(one), job_id="j", by="anna", now=LATER)
    both = await stores.claims.look([one.id, two.id, "nothing"], settled_only=False)
    assert {letter.id: letter.body for letter in both} == {one.id: b"", two.id: b""}
    assert [letter.id for letter in await stores.claims.look([one.id, two.id], settled_only=True)] == [two.id]


async def test_a_body_too_large_for_a_document_is_claimed_whole(stores: Stores) -> None:
    letter = a_letter(body=b"x" * (PIECE + 5))
    await stores.put(letter)
    [item] = await stores.selected(a_job())
    assert item.size >= len(letter.body)
    found = await stores.claims.claim(replays(letter), job_id="j", by="anna", now=LATER)
    assert found[letter.id].letter.body == letter.body


async def test_another_rate_is_stored_and_no_change_of_state_takes_it_back(stores: Stores) -> None:
    job = a_job()
    await stores.jobs.add(job)
    assert await stores.jobs.set_rate(job.id, 50.0)
    assert await stores.jobs.move(replace(job, state=JobState.PAUSED), expected=job)
    stored = await stores.jobs.get(job.id)
    assert stored is not None
    assert (stored.state, stored.options.rate) == (JobState.PAUSED, 50.0)


async def test_a_job_that_is_over_or_not_there_takes_no_rate(stores: Stores) -> None:
    job = a_job()
    await stores.jobs.add(job)
    await stores.jobs.move(replace(job, state=JobState.CANCELLED), expected=job)
    assert not await stores.jobs.set_rate(job.id, 50.0)
    assert not await stores.jobs.set_rate("nobody", 50.0)

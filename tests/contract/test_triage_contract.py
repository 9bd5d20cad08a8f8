"""What every `ITriage` must do: the fake of the unit tests and the real store alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.store import MongoStore
from infra.mongodb.triage import MongoTriage
from tests.conftest import Mongo
from tests.support.fake_triage import FakeTriage
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.selection import DeadLetterState, Selection

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
RESOLVED, DISCARDED = DeadLetterState.RESOLVED, DeadLetterState.DISCARDED
LATER = NOW + timedelta(minutes=5)
EXPIRY = NOW + timedelta(days=36_500)  # the real store removes, once a minute, what has expired by the real clock


@dataclass
class Desk:
    """The letters and what sets them aside."""

    letters: FakeDeadLetters | MongoDeadLetters
    triage: FakeTriage | MongoTriage

    async def put(self, *letters: DeadLetterRecord) -> None:
        for letter in letters:
            assert await self.letters.insert(letter) is None

    async def found(self, letter: DeadLetterRecord) -> DeadLetterRecord:
        stored = await self.letters.get(letter.id)
        assert stored is not None
        return stored

    async def states(self, *letters: DeadLetterRecord) -> list[DeadLetterState]:
        return [(await self.found(letter)).state for letter in letters]

    async def discard(self, selection: Selection) -> int:
        return await self.triage.discard(selection, by="anna", why="test orders", expires_at=EXPIRY, now=LATER)

    async def restore(self, selection: Selection) -> int:
        return await self.triage.restore(selection, by="ben", why="were real", now=LATER)


@pytest.fixture(params=["fake", "mongodb"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "fake":
        fake = FakeDeadLetters()
        yield Desk(fake, FakeTriage(fake))
        return
    mongo: Mongo = request.getfixturevalue("mongo")
    opened = MongoStore(mongo.uri, database=mongo.database)
    await opened.ensure_indexes()
    yield Desk(MongoDeadLetters(opened), MongoTriage(opened))
    await opened.close()


async def test_an_open_letter_is_discarded_with_who_why_and_until_when(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    assert await desk.discard(Selection(ids=(letter.id,))) == 1
    stored = await desk.found(letter)
    assert (stored.state, stored.expires_at, stored.revision) == (DISCARDED, EXPIRY, letter.revision + 1)
    assert stored.history == (*letter.history, LetterEvent(LATER, "discarded", by="anna", note="test orders"))
    assert stored.body == letter.body


async def test_a_discarded_letter_is_restored_and_does_not_expire_any_more(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    await desk.discard(Selection(ids=(letter.id,)))
    assert await desk.restore(Selection(ids=(letter.id,))) == 1
    stored = await desk.found(letter)
    assert (stored.state, stored.expires_at) == (OPEN, None)
    assert stored.history[-1] == LetterEvent(LATER, "restored", by="ben", note="were real")


async def test_only_open_letters_are_discarded_and_only_discarded_ones_restored(desk: Desk) -> None:
    letters = [a_letter(state=state) for state in (OPEN, REPLAYING, RESOLVED, DISCARDED)]
    await desk.put(*letters)
    assert await desk.discard(Selection()) == 1
    assert await desk.states(*letters) == [DISCARDED, REPLAYING, RESOLVED, DISCARDED]
    assert (await desk.found(letters[3])).history == letters[3].history
    assert await desk.restore(Selection()) == 2
    assert await desk.states(*letters) == [OPEN, REPLAYING, RESOLVED, OPEN]


async def test_doing_it_twice_changes_nothing(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    await desk.discard(Selection())
    once = await desk.found(letter)
    assert await desk.discard(Selection()) == 0
    assert await desk.found(letter) == once


async def test_of_concurrent_discards_each_letter_counts_once(desk: Desk) -> None:
    await desk.put(*(a_letter() for _ in range(20)))
    assert sum(await asyncio.gather(*(desk.discard(Selection()) for _ in range(5)))) == 20


async def test_the_rest_of_the_selection_narrows_what_is_moved(desk: Desk) -> None:
    wanted, other = a_letter(fingerprint="fff"), a_letter()
    await desk.put(wanted, other)
    assert await desk.discard(Selection(ids=(wanted.id, other.id), group="fff")) == 1
    assert await desk.states(wanted, other) == [DISCARDED, OPEN]
    assert list(await desk.triage.ids(Selection(group="fff"))) == [wanted.id]
    assert list(await desk.triage.ids(Selection(group="fff", state=OPEN))) == []


async def test_a_letter_that_was_claimed_long_ago_is_given_up_and_a_younger_one_is_not(desk: Desk) -> None:
    old, young, unclaimed = letters = [a_letter() for _ in range(3)]
    await desk.put(*letters)
    await desk.letters.claim_for_replay(old.id, replay_id="r1", by="anna", now=NOW)
    await desk.letters.claim_for_replay(young.id, replay_id="r2", by="anna", now=LATER)
    before = NOW + timedelta(seconds=1)
    everything = Selection(ids=tuple(letter.id for letter in letters))
    assert list(await desk.triage.ids(replace(everything, state=REPLAYING), claimed_before=before)) == [old.id]
    given_up = await desk.triage.give_up(everything, claimed_before=before, by="ben", why="purged", now=LATER)
    assert given_up == 1
    assert await desk.states(*letters) == [OPEN, REPLAYING, OPEN]
    assert (await desk.found(old)).history[-1] == LetterEvent(LATER, "given_up", by="ben", note="purged")
    assert (await desk.found(unclaimed)) == unclaimed


async def test_a_letter_given_up_can_be_claimed_again_and_its_old_copy_still_counts(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    await desk.letters.claim_for_replay(letter.id, replay_id="r1", by="anna", now=NOW)
    await desk.triage.give_up(Selection(), claimed_before=LATER, by="ben", why="purged", now=LATER)
    assert await desk.letters.resolve(order_id=None, letter_id=letter.id, replay_id="r1", now=LATER) == 1


async def test_a_new_failure_of_a_discarded_letter_opens_it_and_it_expires_no_more(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    await desk.discard(Selection())
    discarded = await desk.found(letter)
    again = replace(a_letter(id=letter.id), filed=("m-new:",))
    assert await desk.letters.replace(discarded.absorb(again), expected=discarded)
    stored = await desk.found(letter)
    assert (stored.state, stored.expires_at) == (OPEN, None)

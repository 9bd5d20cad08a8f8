"""Discarded dead letters go when their time is over, on a real store; open ones never do."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.leftovers import MongoLeftovers
from infra.mongodb.letter_versions import MongoLetterVersions
from infra.mongodb.store import MongoStore
from infra.mongodb.triage import MongoTriage
from tests.conftest import Mongo
from tests.support.letters import a_letter
from tests.support.system import eventually
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_version import current_version
from worker.domain.selection import DeadLetterState, Selection

LARGE = 13 * 1024 * 1024
PAST = datetime.now(UTC) - timedelta(minutes=1)
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Room:
    """A store whose expired documents go within a second or two."""

    store: MongoStore
    letters: MongoDeadLetters
    triage: MongoTriage

    async def put(self, *letters: DeadLetterRecord) -> None:
        for letter in letters:
            await self.letters.insert(letter)

    async def discard(self, letter: DeadLetterRecord, *, expires_at: datetime) -> None:
        await self.triage.discard(Selection(ids=(letter.id,)), by="anna", why="old", expires_at=expires_at, now=NOW)

    async def gone(self, letter: DeadLetterRecord) -> None:
        async def is_gone() -> bool:
            return await self.letters.get(letter.id) is None

        await eventually(is_gone, timeout=90.0)  # a MongoDB that is not ours looks every minute

    async def pieces(self, letter: DeadLetterRecord) -> int:
        return await self.store.collection("dead_letter_bodies").count_documents({"letter_id": letter.id})


@pytest.fixture
async def room(mongo: Mongo) -> AsyncIterator[Room]:
    store = MongoStore(mongo.uri, database=mongo.database, timeout=20)
    await store.ensure_indexes()
    yield Room(store, MongoDeadLetters(store), MongoTriage(store))
    await store.close()


async def test_a_discarded_letter_goes_when_its_time_is_over_and_no_other_does(room: Room) -> None:
    over, later, restored, again = letters = [a_letter() for _ in range(4)]
    not_discarded = [a_letter(state=state, expires_at=PAST) for state in DeadLetterState if state != "discarded"]
    await room.put(*letters, *not_discarded)
    await room.discard(later, expires_at=NOW + timedelta(days=14))
    for letter in (restored, again):
        await room.discard(letter, expires_at=NOW + timedelta(days=14))
    await room.triage.restore(Selection(ids=(restored.id,)), by="ben", why="real", now=NOW)
    discarded = await room.letters.get(again.id)
    assert discarded is not None
    failed_again = replace(a_letter(id=again.id), filed=("another:",))
    assert await room.letters.replace(discarded.absorb(failed_again), expected=discarded)
    await room.discard(over, expires_at=PAST)
    await room.gone(over)
    for letter in (later, restored, again, *not_discarded):
        assert await room.letters.get(letter.id) is not None


async def test_the_pieces_of_a_large_body_go_after_their_letter_and_not_before(room: Room) -> None:
    stays, goes = a_letter(body=b"a" * LARGE), a_letter(body=b"b" * LARGE)
    await room.put(stays, goes)
    leftovers = MongoLeftovers(room.store)
    assert await leftovers.remove(older_than=0) == 0
    await room.discard(goes, expires_at=PAST)
    await room.gone(goes)
    assert await leftovers.remove() == 0  # too young: a letter's pieces are stored before the letter
    assert await leftovers.remove(older_than=0) == 2
    assert (await room.pieces(stays), await room.pieces(goes)) == (2, 0)
    kept = await room.letters.get(stays.id)
    assert kept is not None
    assert kept.body == stays.body


async def test_the_earlier_bodies_of_an_edited_letter_go_after_it_and_those_of_others_stay(room: Room) -> None:
    stays, goes = a_letter(), a_letter()
    await room.put(stays, goes)
    versions = MongoLetterVersions(room.store)
    for letter in (stays, goes):
        await versions.keep(current_version(letter))
    await room.discard(goes, expires_at=PAST)
    await room.gone(goes)
    leftovers = MongoLeftovers(room.store)
    assert await leftovers.remove() == 0
    assert await leftovers.remove(older_than=0) == 1
    assert await versions.versions(goes.id) == []
    assert [version.number for version in await versions.versions(stays.id)] == [0]


async def test_a_large_body_stored_before_bodies_had_keys_is_still_read(room: Room) -> None:
    letter = a_letter(body=b"c" * LARGE)
    await room.put(replace(letter, body=b""))
    pieces = room.store.collection("dead_letter_bodies")
    for number, piece in enumerate((letter.body[:5], letter.body[5:])):
        await pieces.insert_one({"_id": f"{letter.id}:{number}", "letter_id": letter.id, "piece": piece})
    letters = room.store.collection("dead_letters")
    await letters.update_one({"_id": letter.id}, {"$set": {"body_pieces": 2}, "$unset": {"body_key": 1}})
    stored = await room.letters.get(letter.id)
    assert stored is not None
    assert stored.body == letter.body


async def test_a_body_that_becomes_small_is_not_read_from_its_old_pieces(room: Room) -> None:
    letter = a_letter(body=b"d" * LARGE)
    await room.put(letter)
    stored = await room.letters.get(letter.id)
    assert stored is not None
    assert await room.letters.replace(replace(stored, body=b"small"), expected=stored)
    changed = await room.letters.get(letter.id)
    assert changed is not None
    assert changed.body == b"small"

"""What every `ILetterEdits` must do: the fake of the unit tests and the real store alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.letter_versions import MongoLetterVersions
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.support.fake_edits import FakeLetterEdits
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.letter_version import LetterVersion, current_version
from worker.domain.selection import DeadLetterState

LATER = NOW + timedelta(minutes=5)
LARGE = b"x" * (13 * 1024 * 1024)


@dataclass
class Desk:
    """The letters and their edits."""

    letters: FakeDeadLetters | MongoDeadLetters
    edits: FakeLetterEdits | MongoLetterVersions

    async def put(self, letter: DeadLetterRecord) -> DeadLetterRecord:
        assert await self.letters.insert(letter) is None
        return await self.found(letter)

    async def found(self, letter: DeadLetterRecord) -> DeadLetterRecord:
        stored = await self.letters.get(letter.id)
        assert stored is not None
        return stored

    async def claim(self, edited: DeadLetterRecord, replay_id: str = "r1") -> bool:
        return await self.edits.claim_edited(edited, replay_id=replay_id, by="anna", why="typo", now=LATER)


@pytest.fixture(params=["fake", "mongodb"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "fake":
        fake = FakeDeadLetters()
        yield Desk(fake, FakeLetterEdits(fake))
        return
    mongo: Mongo = request.getfixturevalue("mongo")
    opened = MongoStore(mongo.uri, database=mongo.database, timeout=20)
    await opened.ensure_indexes()
    yield Desk(MongoDeadLetters(opened), MongoLetterVersions(opened))
    await opened.close()


def edited(letter: DeadLetterRecord, body: bytes = b'{"new": 1}') -> DeadLetterRecord:
    return replace(letter, body=body, headers={"x-new": "1"}, order_id="A-new", version=letter.version + 1)


async def test_an_open_letter_is_claimed_with_its_new_body(desk: Desk) -> None:
    letter = await desk.put(a_letter())
    assert await desk.claim(edited(letter))
    stored = await desk.found(letter)
    assert (stored.state, stored.replay_id, stored.version) == (DeadLetterState.REPLAYING, "r1", 1)
    assert (stored.body, stored.headers, stored.order_id) == (b'{"new": 1}', {"x-new": "1"}, "A-new")
    assert stored.history == (
        *letter.history,
        LetterEvent(LATER, "edited", replay_id="r1", by="anna", note="typo"),
        LetterEvent(LATER, "replayed", replay_id="r1", by="anna"),
    )


async def test_of_concurrent_edits_one_wins_and_its_body_is_stored(desk: Desk) -> None:
    letter = await desk.put(a_letter())
    bodies = [b"%d" % n for n in range(10)]
    won = await asyncio.gather(*(desk.claim(edited(letter, body), f"r{body!r}") for body in bodies))
    assert won.count(True) == 1
    assert (await desk.found(letter)).body == bodies[won.index(True)]


async def test_a_letter_that_changed_since_it_was_read_is_not_claimed(desk: Desk) -> None:
    letter = await desk.put(a_letter())
    await desk.letters.claim_for_replay(letter.id, replay_id="r0", by="ben", now=NOW)
    assert not await desk.claim(edited(letter))
    await desk.letters.give_back(letter.id, replay_id="r0", now=NOW)
    before = await desk.found(letter)
    assert not await desk.claim(edited(letter))  # open again, but not what was edited
    assert await desk.found(letter) == before
    assert not await desk.claim(edited(a_letter()))


@pytest.mark.parametrize("state", [state for state in DeadLetterState if state is not DeadLetterState.OPEN])
async def test_a_letter_that_is_not_open_is_not_claimed_by_an_edit(desk: Desk, state: DeadLetterState) -> None:
    letter = await desk.put(a_letter(state=state))
    assert not await desk.claim(edited(letter))
    assert await desk.found(letter) == letter


async def test_an_edited_claim_that_is_never_confirmed_is_reopened_with_the_edited_body(desk: Desk) -> None:
    letter = await desk.put(a_letter())
    await desk.claim(edited(letter))
    assert await desk.letters.reopen_abandoned(claimed_before=LATER + timedelta(seconds=1), now=LATER) == 1
    stored = await desk.found(letter)
    assert (stored.state, stored.body, stored.version) == (DeadLetterState.OPEN, b'{"new": 1}', 1)


async def test_a_body_that_is_kept_comes_back_byte_for_byte(desk: Desk) -> None:
    letter = a_letter(body=b'\x00\xff{"n": 1.10}\r\n', headers={"$ref": "x", "n": 1})
    version = current_version(letter)
    await desk.edits.keep(version)
    assert await desk.edits.version(letter.id, 0) == version
    assert await desk.edits.version(letter.id, 1) is None
    assert await desk.edits.versions(letter.id) == [replace(version, body=b"")]
    assert await desk.edits.versions("another") == []


async def test_keeping_a_body_twice_keeps_it_once(desk: Desk) -> None:
    version = current_version(a_letter())
    await asyncio.gather(*(desk.edits.keep(version) for _ in range(5)))
    assert await desk.edits.versions(version.letter_id) == [replace(version, body=b"")]


async def test_the_versions_of_a_letter_are_in_order(desk: Desk) -> None:
    for number in (10, 0, 2):
        body = b"%d" % number
        await desk.edits.keep(
            LetterVersion("a", number, 2, NOW, by="anna", why="w", replay_id="r", body=body, headers={})
        )
    assert [version.number for version in await desk.edits.versions("a")] == [0, 2, 10]


async def test_bodies_too_large_for_a_document_are_kept_apart_from_each_other(desk: Desk) -> None:
    letter = await desk.put(a_letter(body=LARGE))
    await desk.edits.keep(current_version(letter))
    assert await desk.claim(edited(letter, LARGE + b"y"))
    second = await desk.found(letter)
    assert second.body == LARGE + b"y"
    await desk.edits.keep(current_version(second))
    await desk.letters.give_back(letter.id, replay_id="r1", now=NOW)
    assert await desk.claim(edited(await desk.found(letter), b"small"), "r2")
    assert (await desk.found(letter)).body == b"small"
    kept = [await desk.edits.version(letter.id, number) for number in (0, 1)]
    assert [version.body for version in kept if version is not None] == [LARGE, LARGE + b"y"]

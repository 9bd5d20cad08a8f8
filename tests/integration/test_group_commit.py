"""Group commit on a real MongoDB: many saves, few writes, and each save its own result."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import pytest
from pymongo.errors import DuplicateKeyError, WriteError

from infra.local.ports import free_ports
from infra.mongodb.group_commit import GroupCommit, NotAllChangedError, SameChange, Verb
from infra.mongodb.store import Document, MongoStore, WrittenCollection
from tests.conftest import Mongo
from tests.support.store_away import close_store_that_is_away
from worker.domain.errors import StoreUnavailableError


class Counting:
    """A collection, and its database, that counts the commands and passes them on."""

    def __init__(self, collection: WrittenCollection) -> None:
        self.collection = collection
        self.name, self.write_concern = collection.name, collection.write_concern
        self.sizes: list[int] = []
        self.in_flight = self.most_in_flight = 0

    @property
    def database(self) -> "Counting":
        return self

    async def command(self, command: Mapping[str, Any]) -> Any:
        self.sizes.append(len(command.get("documents", command.get("updates", ()))))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.collection.database.command(dict(command))
        finally:
            self.in_flight -= 1


class Room:
    """Group commits and what they write to."""

    def __init__(self, store: MongoStore) -> None:
        self.collection = store.collection("things")
        self.counting = Counting(store.written("things"))
        self.group = GroupCommit(cast("WrittenCollection", self.counting))

    async def insert(self, document: Document) -> None:
        await self.group.write(Verb.INSERT, document)

    async def insert_all(self, documents: Sequence[Document]) -> list[BaseException | None]:
        return await asyncio.gather(*(self.insert(one) for one in documents), return_exceptions=True)

    async def update_all(self, updates: Sequence[Document]) -> list[BaseException | None]:
        return await asyncio.gather(*(self.group.write(Verb.UPDATE, one) for one in updates), return_exceptions=True)

    async def change_all(self, changes: Sequence[SameChange]) -> list[BaseException | None]:
        tasks = (self.group.write(Verb.UPDATE_ALIKE, one) for one in changes)
        return await asyncio.gather(*tasks, return_exceptions=True)

    async def numbers(self) -> dict[object, object]:
        return {document["_id"]: document["n"] async for document in self.collection.find()}

    async def ids(self) -> set[object]:
        return {document["_id"] async for document in self.collection.find()}


@pytest.fixture
async def room(mongo: Mongo) -> AsyncIterator[Room]:
    store = MongoStore(mongo.uri, database=mongo.database)
    yield Room(store)
    await store.close()


def thing(number: object, **fields: object) -> Document:
    return {"_id": number, "n": number, **fields}


def update(which: Document, change: Document) -> Document:
    return {"q": which, "u": change, "upsert": True}


def a_change(number: object, *, to: object = "new", expected: object = "old") -> SameChange:
    return SameChange(number, to, {"n": expected}, {"$set": {"n": to}})


def cancel_the_flight() -> None:
    for task in asyncio.all_tasks():
        if "_fly" in str(task.get_coro()):
            task.cancel()


async def test_concurrent_saves_are_gathered_into_few_writes(room: Room) -> None:
    results = await room.insert_all([thing(number) for number in range(400)])
    assert results == [None] * 400
    assert await room.ids() == set(range(400))
    assert sum(room.counting.sizes) == 400
    assert len(room.counting.sizes) <= 3
    assert room.counting.most_in_flight == 1


async def test_saves_that_keep_coming_go_out_with_the_next_write(room: Room) -> None:
    async def one_after_the_other(first: int) -> None:
        for number in range(20):
            await room.insert(thing(first + number))

    await asyncio.gather(*(one_after_the_other(100 * task) for task in range(50)))
    assert len(await room.ids()) == 1000
    assert len(room.counting.sizes) < 200
    assert room.counting.most_in_flight == 1


async def test_what_arrives_while_a_write_is_in_flight_goes_into_the_next(room: Room) -> None:
    tasks = []
    for number in range(40):
        tasks.append(asyncio.create_task(room.insert(thing(number))))
        await asyncio.sleep(0.0001)
    await asyncio.gather(*tasks)
    assert await room.ids() == set(range(40))
    assert room.counting.most_in_flight == 1
    assert len(room.counting.sizes) < 40


async def test_inserts_and_updates_of_one_collection_take_turns(room: Room) -> None:
    changes = [update({"_id": number}, {"$set": {"n": 0}}) for number in range(100, 200)]
    inserted, updated = await asyncio.gather(
        room.insert_all([thing(number) for number in range(100)]), room.update_all(changes)
    )
    assert inserted + updated == [None] * 200
    assert await room.ids() == set(range(200))
    assert room.counting.sizes == [100, 100]
    assert room.counting.most_in_flight == 1


async def test_a_flight_that_is_cancelled_lets_everybody_go(room: Room) -> None:
    waiting = [asyncio.create_task(room.insert(thing(number))) for number in range(3)]
    waiting.append(asyncio.create_task(room.group.write(Verb.UPDATE, update({"_id": 9}, {"$set": {"n": 0}}))))
    for _ in range(5):
        await asyncio.sleep(0)
    assert room.counting.in_flight == 1
    cancel_the_flight()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(result) for result in results] == [
        *["the write was cancelled; nothing is known about it"] * 3,
        "the write was cancelled before it began",
    ]
    await room.insert(thing("later"))  # the next one finds its way
    assert "later" in await room.ids()


async def test_a_flight_that_is_cancelled_while_it_looks_for_the_bad_document_lets_everybody_go(room: Room) -> None:
    class HeldAfterTheFirst(Counting):
        holds = asyncio.Event()

        async def command(self, command: Mapping[str, Any]) -> Any:
            if self.sizes:
                self.holds.set()
                await asyncio.Event().wait()
            return await super().command(command)

    held = HeldAfterTheFirst(room.counting.collection)
    room.group = GroupCommit(cast("WrittenCollection", held))
    documents = [thing("bad", value=object()), *map(thing, range(5))]
    waiting = [asyncio.create_task(room.insert(document)) for document in documents]
    await held.holds.wait()
    cancel_the_flight()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(result) for result in results} == {"the write was cancelled; nothing is known about it"}


async def test_a_save_alone_goes_out_at_once(room: Room) -> None:
    await room.insert(thing(1))
    with pytest.raises(DuplicateKeyError):
        await room.insert(thing(1))
    assert room.counting.sizes == [1, 1]


async def test_no_write_is_larger_than_its_limit(room: Room) -> None:
    await room.insert_all([thing(number) for number in range(1200)])
    assert max(room.counting.sizes) == 500
    assert len(await room.ids()) == 1200


async def test_what_is_there_already_is_an_error_for_its_insert_alone(room: Room) -> None:
    await room.insert(thing("b"))
    results = await room.insert_all([thing("a"), thing("b"), thing("c")])
    assert (results[0], results[2]) == (None, None)
    assert isinstance(results[1], DuplicateKeyError)
    assert await room.ids() == {"a", "b", "c"}


async def test_an_error_goes_to_the_save_that_caused_it_and_to_no_other(room: Room) -> None:
    await room.insert(thing("taken", status="SHIPPED"))
    clash = update({"_id": "taken", "status": "PENDING"}, {"$set": {"n": 1}})
    forbidden = update({"_id": "x"}, {"$set": {"n": 1}, "$inc": {"n": 1}})
    wrong_type = update({"_id": "taken"}, {"$push": {"status": 1}})
    fine = [update({"_id": name}, {"$set": {"n": 1}}) for name in ("a", "b", "c")]
    results = await room.update_all([fine[0], clash, fine[1], forbidden, wrong_type, fine[2]])
    assert room.counting.sizes[-1] == 6
    assert [results[index] for index in (0, 2, 5)] == [None] * 3
    assert isinstance(results[1], DuplicateKeyError)
    assert all(type(results[index]).__name__ == "OperationFailure" for index in (3, 4))
    assert await room.ids() == {"taken", "a", "b", "c"}


async def test_an_unencodable_document_hurts_no_neighbour(room: Room) -> None:
    bad = [thing("object", value=object()), thing("huge", value=2**70), thing("half", value="\ud800")]
    results = await room.insert_all([thing(0), *bad, thing(1), thing(2)])
    assert [results[index] for index in (0, 4, 5)] == [None] * 3
    assert all(isinstance(result, Exception) for result in results[1:4])
    assert not any(isinstance(result, StoreUnavailableError) for result in results)
    assert await room.ids() == {0, 1, 2}


async def test_a_document_too_large_for_the_store_hurts_no_neighbour(room: Room) -> None:
    results = await room.insert_all([thing(0), thing("large", value=b"x" * 17_000_000), thing(1)])
    assert (results[0], results[2]) == (None, None)
    assert isinstance(results[1], Exception)
    assert await room.ids() == {0, 1}


async def test_one_bad_document_among_many_is_found_in_few_writes(room: Room) -> None:
    results = await room.insert_all(
        [*map(thing, range(300)), thing("bad", value=object()), *map(thing, range(300, 400))]
    )
    assert [index for index, result in enumerate(results) if result is not None] == [300]
    assert await room.ids() == set(range(400))
    assert len(room.counting.sizes) <= 20


async def test_more_than_one_message_can_hold_goes_out_in_several(room: Room) -> None:
    results = await room.insert_all([thing(number, value=b"x" * 1_000_000) for number in range(60)])
    assert results == [None] * 60
    assert await room.ids() == set(range(60))


async def test_a_caller_that_gives_up_changes_nothing_for_the_others(room: Room) -> None:
    tasks = [asyncio.create_task(room.insert(thing(number))) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[1::2] == [None] * 10
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    await room.insert(thing("later"))
    assert await room.ids() == {*range(20), "later"}  # cancelling the wait does not take the write back


async def test_a_store_that_is_away_is_unavailable_for_all_and_the_next_save_tries_again(mongo: Mongo) -> None:
    store = MongoStore(f"mongodb://127.0.0.1:{free_ports(1)[0]}/?directConnection=true", timeout=0.3)
    away = Room(store)
    for _ in range(2):
        results = await away.insert_all([thing(number) for number in range(50)])
        assert {type(result) for result in results} == {StoreUnavailableError}
    assert len(away.counting.sizes) == 2
    await close_store_that_is_away(store)


async def test_a_document_the_store_forbids_hurts_no_neighbour(room: Room) -> None:
    validator = {"$jsonSchema": {"required": ["n"]}}
    await room.collection.database.create_collection("things", validator=validator)
    without = update({"_id": "without"}, {"$set": {"other": 1}})
    results = await room.update_all([update({"_id": 1}, {"$set": {"n": 1}}), without])
    assert results[0] is None
    assert isinstance(results[1], Exception)
    assert not isinstance(results[1], StoreUnavailableError | WriteError | DuplicateKeyError)


async def test_what_is_not_on_a_majority_is_no_duplicate_either(room: Room) -> None:
    """A primary that is cut off says both of an insert; the document it found may be taken back."""

    class CutOff(Counting):
        async def command(self, command: Mapping[str, Any]) -> Any:
            refused = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key"}
            return {
                "ok": 1.0,
                "writeErrors": [refused],
                "writeConcernError": {"code": 64, "errmsg": "waiting for replication"},
            }

    room.group = GroupCommit(cast("WrittenCollection", CutOff(room.counting.collection)))
    with pytest.raises(StoreUnavailableError, match="not safe yet: waiting for replication"):
        await room.insert(thing(1))


async def test_changes_that_are_alike_are_one_update_of_many_documents(room: Room) -> None:
    await room.insert_all([{"_id": number, "n": "old"} for number in range(300)])
    results = await room.change_all([a_change(number, to="odd" if number % 2 else "even") for number in range(200)])
    assert results == [None] * 200
    assert room.counting.sizes[-1] == 2
    found = await room.numbers()
    assert [found[number] for number in range(300)] == ["even", "odd"] * 100 + ["old"] * 100


async def test_changes_take_turns_with_inserts_and_updates(room: Room) -> None:
    await room.insert_all([{"_id": number, "n": "old"} for number in range(50)])
    results = await asyncio.gather(
        room.insert_all([thing(number) for number in range(50, 100)]),
        room.update_all([update({"_id": number}, {"$set": {"n": 0}}) for number in range(100, 150)]),
        room.change_all([a_change(number) for number in range(50)]),
    )
    assert [result for kind in results for result in kind] == [None] * 150
    assert room.counting.sizes == [50, 50, 50, 1]
    assert room.counting.most_in_flight == 1


async def test_when_one_was_not_as_expected_all_that_were_changed_with_it_are_told(room: Room) -> None:
    await room.insert_all([{"_id": number, "n": "old" if number else "other"} for number in range(10)])
    results = await room.change_all([a_change(number) for number in [*range(10), "absent"]])
    assert [str(result) for result in results] == ["9 of 11 documents were as expected"] * 11
    assert not any(cast("NotAllChangedError", result).is_alone for result in results)
    assert await room.numbers() == {0: "other", **dict.fromkeys(range(1, 10), "new")}


async def test_one_that_was_not_as_expected_and_alone_knows_that_it_was_not_changed(room: Room) -> None:
    (result,) = await room.change_all([a_change("absent")])
    assert isinstance(result, NotAllChangedError)
    assert result.is_alone


async def test_a_change_the_store_forbids_is_told_to_all_that_went_with_it(room: Room) -> None:
    await room.insert_all([{"_id": number, "n": "old", "list": [1] if number != 2 else "none"} for number in range(5)])
    push = {"$set": {"n": "new"}, "$push": {"list": 2}}
    results = await room.change_all([SameChange(number, "push", {"n": "old"}, push) for number in range(5)])
    assert {type(result) for result in results} == {NotAllChangedError}
    assert not any(cast("NotAllChangedError", result).is_alone for result in results)
    assert set((await room.numbers()).values()) == {"old", "new"}  # the server stops where it met the one that is wrong


async def test_an_unencodable_change_is_told_to_all_that_went_with_it(room: Room) -> None:
    await room.insert_all([{"_id": number, "n": "old"} for number in range(3)])
    bad = SameChange(0, "bad", {"n": "old"}, {"$set": {"n": object()}})
    results = await room.change_all([bad, a_change(1), a_change(2)])
    assert {type(result) for result in results} == {NotAllChangedError}
    assert set((await room.numbers()).values()) == {"old"}


async def test_changes_that_are_not_on_a_majority_are_not_safe_for_anybody(room: Room) -> None:
    class CutOff(Counting):
        async def command(self, command: Mapping[str, Any]) -> Any:
            return {"ok": 1.0, "n": 0, "writeConcernError": {"code": 64, "errmsg": "waiting for replication"}}

    room.group = GroupCommit(cast("WrittenCollection", CutOff(room.counting.collection)))
    results = await room.change_all([a_change(number) for number in range(3)])
    assert [str(result) for result in results] == ["the write is not safe yet: waiting for replication"] * 3

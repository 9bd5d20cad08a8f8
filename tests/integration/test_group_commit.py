"""Group commit on a real MongoDB: many saves, few writes, and each save its own result."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from pymongo import InsertOne, UpdateMany
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError

from infra.local.ports import free_ports
from infra.mongodb.group_commit import GroupCommit, Write
from infra.mongodb.store import Collection, Document, MongoStore
from tests.conftest import Mongo
from worker.domain.errors import StoreUnavailableError


class Counting:
    """A collection that counts its bulk writes and passes them on."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self.sizes: list[int] = []
        self.in_flight = self.most_in_flight = 0

    async def bulk_write(self, requests: Sequence[Write], **options: Any) -> Any:
        self.sizes.append(len(requests))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._collection.bulk_write(requests, **options)
        finally:
            self.in_flight -= 1


class Room:
    """A group commit and what it writes to."""

    def __init__(self, store: MongoStore) -> None:
        self.collection = store.collection("things")
        self.counting = Counting(self.collection)
        self.commits = GroupCommit(cast("Collection", self.counting))

    async def write_all(self, updates: Sequence[Write]) -> list[BaseException | None]:
        return await asyncio.gather(*(self.commits.write(update) for update in updates), return_exceptions=True)

    async def ids(self) -> set[object]:
        return {document["_id"] async for document in self.collection.find()}


@pytest.fixture
async def room(mongo: Mongo) -> AsyncIterator[Room]:
    store = MongoStore(mongo.uri, database=mongo.database)
    yield Room(store)
    store.close()


def insert(number: object, **fields: object) -> InsertOne[Document]:
    return InsertOne({"_id": number, "n": number, **fields})


async def test_concurrent_saves_are_gathered_into_few_writes(room: Room) -> None:
    results = await room.write_all([insert(number) for number in range(400)])
    assert results == [None] * 400
    assert await room.ids() == set(range(400))
    assert sum(room.counting.sizes) == 400
    assert len(room.counting.sizes) <= 3
    assert room.counting.most_in_flight == 1


async def test_saves_that_keep_coming_go_out_with_the_next_write(room: Room) -> None:
    async def one_after_the_other(first: int) -> None:
        for number in range(20):
            await room.commits.write(insert(first + number))

    await asyncio.gather(*(one_after_the_other(100 * task) for task in range(50)))
    assert len(await room.ids()) == 1000
    assert len(room.counting.sizes) < 200
    assert room.counting.most_in_flight == 1


async def test_what_arrives_while_a_write_is_in_flight_goes_into_the_next(room: Room) -> None:
    tasks = []
    for number in range(40):
        tasks.append(asyncio.create_task(room.commits.write(insert(number))))
        await asyncio.sleep(0.0001)
    await asyncio.gather(*tasks)
    assert await room.ids() == set(range(40))
    assert room.counting.most_in_flight == 1
    assert len(room.counting.sizes) < 40


async def test_a_save_alone_goes_out_at_once(room: Room) -> None:
    await room.commits.write(insert(1))
    with pytest.raises(DuplicateKeyError):
        await room.commits.write(insert(1))
    assert room.counting.sizes == [1, 1]


async def test_no_write_is_larger_than_its_limit(room: Room) -> None:
    await room.write_all([insert(number) for number in range(1200)])
    assert max(room.counting.sizes) == 500
    assert len(await room.ids()) == 1200


async def test_what_is_there_already_is_an_error_for_its_insert_alone(room: Room) -> None:
    await room.commits.write(insert("b"))
    results = await room.write_all([insert("a"), insert("b"), insert("c")])
    assert (results[0], results[2]) == (None, None)
    assert isinstance(results[1], DuplicateKeyError)
    assert await room.ids() == {"a", "b", "c"}


async def test_an_error_goes_to_the_save_that_caused_it_and_to_no_other(room: Room) -> None:
    await room.commits.write(insert("taken", status="SHIPPED"))
    clash = UpdateMany({"_id": "taken", "status": "PENDING"}, {"$set": {"n": 1}}, upsert=True)
    forbidden = UpdateMany({"_id": "x"}, {"$set": {"n": 1}, "$inc": {"n": 1}}, upsert=True)
    wrong_type = UpdateMany({"_id": "taken"}, {"$push": {"status": 1}})
    results = await room.write_all(
        [insert("a"), clash, insert("b"), forbidden, wrong_type, insert("taken"), insert("c")]
    )
    assert [results[index] for index in (0, 2, 6)] == [None] * 3
    assert all(isinstance(results[index], DuplicateKeyError) for index in (1, 5))
    assert all(type(results[index]).__name__ == "OperationFailure" for index in (3, 4))
    assert await room.ids() == {"taken", "a", "b", "c"}


async def test_an_unencodable_document_hurts_no_neighbour(room: Room) -> None:
    bad = [insert("object", value=object()), insert("huge", value=2**70), insert("half", value="\ud800")]
    results = await room.write_all([insert(0), *bad, insert(1), insert(2)])
    assert [results[index] for index in (0, 4, 5)] == [None] * 3
    assert all(isinstance(result, Exception) for result in results[1:4])
    assert not any(isinstance(result, StoreUnavailableError) for result in results)
    assert await room.ids() == {0, 1, 2}


async def test_a_document_too_large_for_the_store_hurts_no_neighbour(room: Room) -> None:
    results = await room.write_all([insert(0), insert("large", value=b"x" * 17_000_000), insert(1)])
    assert (results[0], results[2]) == (None, None)
    assert isinstance(results[1], Exception)
    assert await room.ids() == {0, 1}


async def test_a_caller_that_gives_up_changes_nothing_for_the_others(room: Room) -> None:
    tasks = [asyncio.create_task(room.commits.write(insert(number))) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[1::2] == [None] * 10
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    await room.commits.write(insert("later"))
    assert await room.ids() == {*range(20), "later"}  # cancelling the wait does not take the write back


async def test_a_store_that_is_away_is_unavailable_for_all_and_the_next_save_tries_again(mongo: Mongo) -> None:
    store = MongoStore(f"mongodb://127.0.0.1:{free_ports(1)[0]}/?directConnection=true", timeout=0.3)
    away = Room(store)
    for _ in range(2):
        results = await away.write_all([insert(number) for number in range(50)])
        assert {type(result) for result in results} == {StoreUnavailableError}
    assert len(away.counting.sizes) == 2
    store.close()


async def test_a_document_the_store_forbids_hurts_no_neighbour(room: Room) -> None:
    validator = {"$jsonSchema": {"required": ["n"]}}
    await room.collection.database.create_collection("things", validator=validator)
    without = UpdateMany({"_id": "without"}, {"$set": {"other": 1}}, upsert=True)
    results = await room.write_all([insert(1), without])
    assert results[0] is None
    assert isinstance(results[1], Exception)
    assert not isinstance(results[1], StoreUnavailableError | WriteError | DuplicateKeyError)


async def test_what_is_not_on_a_majority_is_no_duplicate_either() -> None:
    """A primary that is cut off says both of an insert; the document it found may be taken back."""
    refused = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key"}
    details = {"writeErrors": [refused], "writeConcernErrors": [{"code": 64, "errmsg": "waiting for replication"}]}

    class CutOff:
        async def bulk_write(self, requests: Sequence[Write], **options: Any) -> Any:
            raise BulkWriteError(details)

    with pytest.raises(StoreUnavailableError, match="not safe yet: waiting for replication"):
        await GroupCommit(cast("Collection", CutOff())).write(insert(1))

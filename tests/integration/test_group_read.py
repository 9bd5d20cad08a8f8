"""Group read on a real store: look-ups share queries, and each gets its own answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from infra.mongodb.group_read import GroupRead
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from worker.domain.errors import StoreUnavailableError


@pytest.fixture
async def store(mongo: Mongo) -> AsyncIterator[MongoStore]:
    opened = MongoStore(mongo.uri, database=mongo.database)
    yield opened
    await opened.close()


async def test_many_look_ups_at_once_each_get_their_own_document_or_none(store: MongoStore) -> None:
    things = store.collection("things")
    await things.insert_many([{"_id": f"t-{number}", "number": number} for number in range(1200)])
    reads = GroupRead(things)
    found = await asyncio.gather(*(reads.get(f"t-{number}") for number in range(1300)))
    assert [document["number"] if document else None for document in found] == [*range(1200), *[None] * 100]


async def test_only_the_wanted_fields_are_read(store: MongoStore) -> None:
    await store.collection("things").insert_one({"_id": "t", "wanted": 1, "other": 2})
    assert await GroupRead(store.collection("things"), fields={"wanted": True}).get("t") == {"_id": "t", "wanted": 1}


async def test_a_look_up_sees_what_was_written_before_it_was_asked_for(store: MongoStore) -> None:
    things = store.collection("things")
    reads = GroupRead(things)

    async def write_and_read(number: int) -> bool:
        await things.insert_one({"_id": f"t-{number}"})
        return await reads.get(f"t-{number}") is not None

    assert all(await asyncio.gather(*(write_and_read(number) for number in range(300))))


async def test_the_same_document_can_be_looked_up_by_many(store: MongoStore) -> None:
    await store.collection("things").insert_one({"_id": "t"})
    reads = GroupRead(store.collection("things"))
    assert await asyncio.gather(*(reads.get("t") for _ in range(50))) == [{"_id": "t"}] * 50


async def test_a_store_that_does_not_answer_is_told_to_everybody_who_waits() -> None:
    unreachable = MongoStore("mongodb://127.0.0.1:1/?directConnection=true", timeout=0.3)
    reads = GroupRead(unreachable.collection("things"))
    answers = await asyncio.gather(*(reads.get(f"t-{n}") for n in range(20)), return_exceptions=True)
    await unreachable.close()
    assert {type(answer) for answer in answers} == {StoreUnavailableError}

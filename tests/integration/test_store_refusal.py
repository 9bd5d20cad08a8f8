"""A store that refuses the password says so to everybody who asks, however many ask at the same moment."""

import asyncio
from urllib.parse import urlsplit

from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from worker.domain.errors import StoreUnavailableError


async def test_each_of_many_that_ask_together_is_told_of_the_refusal(mongo: Mongo) -> None:
    address = urlsplit(mongo.uri)
    wrong = address._replace(netloc=f"nobody:wrong@{address.netloc}", query=f"{address.query}&authSource=admin")
    store = MongoStore(wrong.geturl(), timeout=2.0)
    answers = await asyncio.gather(*(store.ping() for _ in range(10)), return_exceptions=True)
    await store.close()
    assert {str(answer) for answer in answers} == {"MongoDB refuses the user or password of LOGISTICS_MONGODB_URI"}
    assert {type(answer) for answer in answers} == {StoreUnavailableError}

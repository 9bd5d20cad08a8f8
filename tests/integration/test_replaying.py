"""The replay runner as a worker runs it, on a real store and a real broker that no worker takes orders from."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import aio_pika
import pytest

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.store import MongoStore
from infra.rabbitmq.replay_publisher import ReplayPublisher
from infra.rabbitmq.topology import Topology
from tests.conftest import Broker, Mongo
from tests.support.letters import a_letter
from tests.support.messages import channel_of, take_all, waiting
from tests.support.system import eventually
from worker.domain.audit import Audit
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.errors import UnroutableError
from worker.domain.replay_job import ItemState, ReplayItem, ReplayJob, ReplayOptions
from worker.domain.replay_jobs import ReplayJobs
from worker.domain.selection import DeadLetterState, Selection
from worker.replaying import Replaying

FAST = ReplayOptions(canary=0, rate=1000.0, start_rate=1000.0)


@dataclass
class Room:
    """A store and a broker, and an operator's services."""

    store: MongoStore
    amqp_url: str
    letters: MongoDeadLetters
    jobs: MongoReplayJobs
    items: MongoReplayItems

    async def start(self, *letters: DeadLetterRecord, options: ReplayOptions = FAST) -> ReplayJob:
        for letter in letters:
            await self.letters.insert(letter)
        audit = Audit(MongoAuditLog(self.store))
        service = ReplayJobs(letters=self.letters, jobs=self.jobs, items=self.items, audit=audit)
        return await service.start(Selection(), options, by="anna", why="fixed")

    def replaying(self, name: str = "w-1") -> Replaying:
        return Replaying(store=self.store, amqp_url=self.amqp_url, name=name, store_timeout=5.0)

    async def runner(self, job: ReplayJob) -> str | None:
        stored = await self.jobs.get(job.id)
        assert stored is not None
        return stored.runner

    async def items_of(self, job: ReplayJob, *states: ItemState) -> dict[str, ReplayItem]:
        return {item.letter_id: item async for item in self.items.of_job(job.id, states=states, limit=1000)}

    async def state_of(self, letter: DeadLetterRecord) -> DeadLetterState:
        stored = await self.letters.get(letter.id)
        assert stored is not None
        return stored.state


@pytest.fixture
async def room(mongo: Mongo, broker: Broker) -> AsyncIterator[Room]:
    store = MongoStore(mongo.uri, database=mongo.database)
    await store.ensure_indexes()
    await Topology().ensure(broker.amqp_url)
    yield Room(store, broker.amqp_url, MongoDeadLetters(store), MongoReplayJobs(store), MongoReplayItems(store))
    await store.close()


async def end(task: "asyncio.Task[None]", replaying: Replaying) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await replaying.close()


async def test_letters_that_cannot_be_routed_stay_open_and_the_others_go_out(room: Room) -> None:
    lost, gone = a_letter(origin_routing_key="nobody.listens"), a_letter(origin_exchange="gone")
    odd = a_letter(origin_exchange="no name for an exchange!")
    good = [a_letter(headers={"x-tenant": "acme", "origin_routing_key": "order.placed"}) for _ in range(30)]
    job = await room.start(lost, gone, odd, *good, options=replace(FAST, stop_share=1.0))
    replaying = room.replaying()
    task = asyncio.create_task(replaying.run())

    async def everything_is_told() -> bool:
        return len(await room.items_of(job, ItemState.SENT, ItemState.NOT_SENT)) == 33

    await eventually(everything_is_told)
    await end(task, replaying)
    refused = await room.items_of(job, ItemState.NOT_SENT)
    assert refused.keys() == {lost.id, gone.id, odd.id}
    assert refused[lost.id].why == "no queue is bound to the exchange 'orders' for 'nobody.listens'"
    assert refused[gone.id].why == "the exchange 'gone' does not exist"
    assert "cannot be published to" in str(refused[odd.id].why)
    assert [await room.state_of(letter) for letter in (lost, gone, odd)] == [DeadLetterState.OPEN] * 3
    assert await room.state_of(good[0]) is DeadLetterState.REPLAYING
    copies = await take_all(room.amqp_url)
    assert {str(copy.headers["dead_letter_id"]) for copy in copies} == {letter.id for letter in good}
    assert {copy.delivery_mode for copy in copies} == {aio_pika.DeliveryMode.PERSISTENT}
    assert len({copy.message_id for copy in copies}) == len(copies) == 30
    assert {copy.headers["x-tenant"] for copy in copies} == {"acme"}


async def test_a_worker_that_stops_gives_its_job_up_at_once_and_another_goes_on(room: Room) -> None:
    job = await room.start(a_letter(), a_letter(), options=replace(FAST, canary=1))

    async def is_held_by(name: str) -> bool:
        return await room.runner(job) == name and await waiting(room.amqp_url) == 1

    for name in ("w-1", "w-2", "w-3"):  # most of the time it pauses between two steps
        replaying = room.replaying(name)
        task = asyncio.create_task(replaying.run())
        await eventually(lambda name=name: is_held_by(name), timeout=4.0)
        await end(task, replaying)
        assert await room.runner(job) is None


async def test_an_exchange_that_was_missing_is_looked_for_again(room: Room) -> None:
    publisher = ReplayPublisher(room.amqp_url, name="test", look_again_after=0.3)

    async def publish() -> None:
        await publisher.publish_copy(exchange="late", routing_key="k", body=b"{}", headers={}, message_id="m-1")

    with pytest.raises(UnroutableError, match="'late' does not exist"):
        await publish()
    async with channel_of(room.amqp_url) as channel:
        exchange = await channel.declare_exchange("late", durable=True)
        queue = await channel.declare_queue("late.work", durable=True)
        await queue.bind(exchange, "k")
    await asyncio.sleep(0.4)
    await publish()
    assert len(await take_all(room.amqp_url, "late.work")) == 1
    await publisher.close()

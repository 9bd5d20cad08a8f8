"""Running replay jobs inside a worker."""

import asyncio
import time
from collections.abc import Callable

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.replay_claims import MongoReplayClaims
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.store import MongoStore
from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.depths import QueueDepths
from infra.rabbitmq.replay_publisher import ReplayPublisher
from infra.rabbitmq.topology import ORDERS_EXCHANGE, PLACED_KEY
from worker.domain.audit import Audit
from worker.domain.errors import BrokerUnavailableError, StoreUnavailableError
from worker.domain.log import StructuredLogger
from worker.domain.replay import Origin
from worker.domain.replay_job import ItemState
from worker.domain.replay_runner import ReplayRunner
from worker.domain.replay_sender import ReplaySender
from worker.domain.replay_settling import ReplaySettling
from worker.domain.tracing import NO_TRACING, ITracing
from worker.fleet import Fleet

_PAUSE_AFTER_TROUBLE = 2.0
_WORD_EVERY = 15.0
_LAST_STEP = 10.0
_GRACE = 3.0
"""Store time-outs after which a copy that nobody has taken, in a queue that was empty, is lost: a worker that has a
copy notes that first, and a note that is not written in time puts the copy off."""

_log = StructuredLogger("logistics.replays")


class Replaying:
    """A worker's replay runner, with connections of its own that open when a job needs them."""

    def __init__(
        self,
        *,
        store: MongoStore,
        amqp_url: str,
        name: str,
        store_timeout: float,
        on_copy: Callable[[ItemState], None] = lambda _: None,
        tracing: ITracing = NO_TRACING,
    ) -> None:
        """`store_timeout`: seconds a worker's write may take. `on_copy`: told of each copy whether it was sent."""
        claims, items, grace = MongoReplayClaims(store), MongoReplayItems(store), _GRACE * store_timeout
        self._publisher = ReplayPublisher(amqp_url, name=f"{name} replay", tracing=tracing)
        self._depths = QueueDepths(amqp_url, name=f"{name} replay depths")
        self._next_word = 0.0
        sender = ReplaySender(
            claims=claims,
            publisher=self._publisher,
            default_origin=Origin(ORDERS_EXCHANGE, PLACED_KEY),
            publish_timeout=grace,
            on_copy=on_copy,
        )
        self._runner = ReplayRunner(
            jobs=MongoReplayJobs(store),
            items=items,
            sender=sender,
            settling=ReplaySettling(items=items, claims=claims, sender=sender, waiting=self._depths, grace=grace),
            circuits=Fleet(MongoWorkerReports(store)),
            audit=Audit(MongoAuditLog(store)),
            name=name,
        )

    @property
    def holds_job(self) -> bool:
        """Whether this worker moves a job on."""
        return self._runner.holds_job

    async def run(self) -> None:
        """Move jobs on until cancelled. The step under way is finished then, so that no copy is left in doubt."""
        try:
            while True:
                step = asyncio.create_task(self._step())
                try:
                    pause = await asyncio.shield(step)
                except asyncio.CancelledError:
                    await asyncio.wait([step], timeout=_LAST_STEP)
                    raise
                await asyncio.sleep(pause)
        finally:
            await self._release()

    async def close(self) -> None:
        """Close the connections. Raises BrokerUnavailableError."""
        await self._publisher.close()
        await self._depths.close()

    async def _step(self) -> float:
        try:
            return await self._runner.step()
        except (StoreUnavailableError, BrokerUnavailableError) as error:
            if time.monotonic() >= self._next_word:
                _log.warning("replay.held", error=str(error), asking_every=_PAUSE_AFTER_TROUBLE)
                self._next_word = time.monotonic() + _WORD_EVERY
            return _PAUSE_AFTER_TROUBLE

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(2.0):
                await self._runner.release()
        except (StoreUnavailableError, TimeoutError) as error:
            _log.debug("replay.not_released", error=str(error))

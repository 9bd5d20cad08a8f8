"""Looking at everything at once: queues, workers, shipments, dead letters. For `logistics status` and the console."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from infra.mongodb.worker_controls import MongoWorkerControls
from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.depths import QueueDepths
from infra.rabbitmq.topology import SHIPMENTS_RETRY_EXCHANGE, retry_queue
from worker.domain.errors import BrokerUnavailableError, StoreUnavailableError
from worker.domain.replay_job import CANCELLABLE
from worker.domain.selection import DeadLetterState, Selection
from worker.overview_picture import CONSUMED, Looks, Overview, ReplayView, StoreLook, assemble
from worker.settings import Settings
from worker.unhurried import Unhurried

_STORE_TIMEOUT = 4.0
_BROKER_TIMEOUT = 1.0
_PATIENCE = 5.0


class OverviewService:
    """Takes overviews. It keeps its connections from one to the next."""

    def __init__(
        self,
        *,
        depths: QueueDepths,
        reports: MongoWorkerReports,
        shipments: MongoShipments,
        dead_letters: MongoDeadLetters,
        jobs: MongoReplayJobs,
        controls: MongoWorkerControls,
        delays: Sequence[str],
    ) -> None:
        """`delays`: the labels of the delay queues."""
        self._depths = depths
        self._reports = reports
        self._dead_letters = dead_letters
        self._jobs = jobs
        self._controls = controls
        self._delays = delays
        # Each on its own: shipments are counted by the million, and dead letters must not wait for that.
        self._by_status = Unhurried(shipments.count_by_status)
        self._by_reason = Unhurried(self._count_reasons)
        self._by_state = Unhurried(self._count_states)

    @property
    def delays(self) -> Sequence[str]:
        """The labels of the delay queues."""
        return self._delays

    async def take(self) -> Overview:
        """Look at everything at once, for 5 s at most. Raises nothing for a server that is away."""
        broker, store = await asyncio.gather(self.look_at_broker(), self.look_at_store())
        return assemble(broker, store, delays=self._delays, now=datetime.now(UTC))

    async def look_at_broker(self) -> Looks | str:
        """Look at every queue, for 5 s at most; return why not when that cannot be."""
        queues = [
            *CONSUMED,
            *(retry_queue(delay) for delay in self._delays),
            *(retry_queue(delay, exchange=SHIPMENTS_RETRY_EXCHANGE) for delay in self._delays),
        ]
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._depths.look(queues)
        except BrokerUnavailableError as error:
            return str(error)
        except TimeoutError:
            return f"RabbitMQ did not answer within {_PATIENCE:g} s"

    async def look_at_store(self) -> StoreLook | str:
        """Look at what the store holds, for 5 s at most; return why not when that cannot be."""
        return await _seen(self._everything())

    async def look_at_work(self) -> StoreLook | str:
        """Look at what a sample is made of, and at no more: workers' reports, then the open dead letters.

        A worker asks that every 10 s, beside its orders. To count shipments as well took 12.5 ms with 8,000 of them
        (measured), longer with each, and orders that met it were among the slowest.
        """
        return await _seen(self._work())

    async def _everything(self) -> StoreLook:
        return StoreLook(
            *await asyncio.gather(
                self._reports.all(),
                self._by_status.answer(),
                self._by_reason.answer(),
                self._by_state.answer(),
                self._look_at_replay(),
                self._controls.read(),
            )
        )

    async def _work(self) -> StoreLook:
        reports = await self._reports.all()
        return StoreLook(reports, shipments={}, open_by_reason=await self._by_reason.answer(), by_state={})

    def stop(self) -> None:
        """Ask no further."""
        for counted in (self._by_status, self._by_reason, self._by_state):
            counted.stop()

    async def _count_reasons(self) -> dict[str, int]:
        return await self._dead_letters.count_by("reason", Selection(state=DeadLetterState.OPEN))

    async def _count_states(self) -> dict[str, int]:
        return await self._dead_letters.count_by("state", Selection())

    async def _look_at_replay(self) -> ReplayView | None:
        for job in await self._jobs.latest(limit=1):
            if job.state in CANCELLABLE:
                return ReplayView(
                    job.id,
                    str(job.state),
                    job.by,
                    job.why,
                    job.because,
                    created_at=job.created_at,
                    state_since=job.state_since,
                )
        return None


async def _seen(looking: Awaitable[StoreLook]) -> StoreLook | str:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await looking
    except StoreUnavailableError as error:
        return str(error)
    except TimeoutError:
        return f"MongoDB did not answer within {_PATIENCE:g} s"


@asynccontextmanager
async def open_overview(settings: Settings) -> AsyncIterator[OverviewService]:
    """Prepare the ways to broker and store; nothing connects yet. Raises ConfigurationError."""
    async with open_overview_and_store(settings) as (service, _):
        yield service


@asynccontextmanager
async def open_overview_and_store(settings: Settings) -> AsyncIterator[tuple[OverviewService, MongoStore]]:
    """The same, with the store for what else is kept in it."""
    depths = QueueDepths(settings.required("amqp_url"), name="logistics status")
    store = MongoStore(
        settings.required("mongodb_uri"),
        database=settings.mongodb_database,
        timeout=min(settings.store_timeout, _STORE_TIMEOUT),
    )
    service = overview_on(store, depths, settings)
    try:
        yield service, store
    finally:
        service.stop()
        await store.close()
        await _close(depths)


async def _close(depths: QueueDepths) -> None:
    try:
        async with asyncio.timeout(_BROKER_TIMEOUT):
            await depths.close()
    except (BrokerUnavailableError, TimeoutError):
        pass  # it is gone, which is what was wanted


def overview_on(store: MongoStore, depths: QueueDepths, settings: Settings) -> OverviewService:
    """Wire the service."""
    return OverviewService(
        depths=depths,
        reports=MongoWorkerReports(store),
        shipments=MongoShipments(store),
        dead_letters=MongoDeadLetters(store),
        jobs=MongoReplayJobs(store),
        controls=MongoWorkerControls(store),
        delays=[delay.label for delay in settings.retry_delays],
    )

"""Looking at everything at once: queues, workers, shipments, dead letters. For `logistics status` and the console."""

import asyncio
from collections.abc import AsyncIterator, Sequence
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

_STORE_TIMEOUT = 4.0
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
        self._shipments = shipments
        self._dead_letters = dead_letters
        self._jobs = jobs
        self._controls = controls
        self._delays = delays
        self._one_at_a_time = asyncio.Lock()

    async def take(self) -> Overview:
        """Look at everything at once, for 5 s at most. Raises nothing for a server that is away."""
        async with self._one_at_a_time:
            broker, store = await asyncio.gather(self._look_at_broker(), self._look_at_store())
        return assemble(broker, store, delays=self._delays, now=datetime.now(UTC))

    async def _look_at_broker(self) -> Looks | str:
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

    async def _look_at_store(self) -> StoreLook | str:
        open_ones = Selection(state=DeadLetterState.OPEN)
        try:
            async with asyncio.timeout(_PATIENCE):
                reports, shipments, reasons, states, replay, wishes = await asyncio.gather(
                    self._reports.all(),
                    self._shipments.count_by_status(),
                    self._dead_letters.count_by("reason", open_ones),
                    self._dead_letters.count_by("state", Selection()),
                    self._look_at_replay(),
                    self._controls.read(),
                )
        except StoreUnavailableError as error:
            return str(error)
        except TimeoutError:
            return f"MongoDB did not answer within {_PATIENCE:g} s"
        return StoreLook(reports, shipments, reasons, states, replay, wishes)

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


@asynccontextmanager
async def open_overview(settings: Settings) -> AsyncIterator[OverviewService]:
    """Prepare the ways to broker and store; nothing connects yet. Raises ConfigurationError."""
    depths = QueueDepths(settings.required("amqp_url"), name="logistics status")
    store = MongoStore(
        settings.required("mongodb_uri"),
        database=settings.mongodb_database,
        timeout=min(settings.store_timeout, _STORE_TIMEOUT),
    )
    try:
        yield OverviewService(
            depths=depths,
            reports=MongoWorkerReports(store),
            shipments=MongoShipments(store),
            dead_letters=MongoDeadLetters(store),
            jobs=MongoReplayJobs(store),
            controls=MongoWorkerControls(store),
            delays=[delay.label for delay in settings.retry_delays],
        )
    finally:
        store.close()
        await _close_quietly(depths)


async def _close_quietly(depths: QueueDepths) -> None:
    try:
        async with asyncio.timeout(1.0):
            await depths.close()
    except (BrokerUnavailableError, TimeoutError):
        pass  # it is gone, which is what was wanted

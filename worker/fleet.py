"""What the workers say of themselves, as the replay jobs need it."""

from collections.abc import Callable
from datetime import datetime

from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.topology import WORK_QUEUE
from worker.domain.core import utc_now
from worker.overview_picture import WorkerView, worker_views


class Fleet:
    """The workers that live, by their reports (`ICircuits`)."""

    def __init__(self, reports: MongoWorkerReports, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._reports = reports
        self._clock = clock

    async def why_open(self) -> str | None:
        """Return that a worker's circuit is open, in words; None when none is.

        One that may be tried counts as closed: it needs an order to try it with, and a replay's copy is one.
        """
        for worker in await self._live():
            if WORK_QUEUE in worker.in_flight and worker.circuit == "open" and worker.circuit_retry_after > 0:
                why = f": {worker.last_failure}" if worker.last_failure else ""
                return f"the circuit to the supplier is open at worker {worker.name}{why}"
        return None

    async def runs_replays(self) -> bool:
        """Return whether a worker lives that moves replay jobs on."""
        return any(worker.runs_replays for worker in await self._live())

    async def _live(self) -> list[WorkerView]:
        reports = await self._reports.all()
        return [worker for worker in worker_views(reports, now=self._clock()) if not worker.lost]

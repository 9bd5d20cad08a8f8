"""What the workers say of themselves, as the replay jobs need it."""

from collections.abc import Callable, Sequence
from datetime import datetime

from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.topology import WORK_QUEUE
from worker.domain.control_ports import SeenWorker
from worker.domain.core import utc_now
from worker.worker_views import WorkerView, worker_views


class Fleet:
    """The workers, by their reports (`ICircuits`, `IWorkers`)."""

    def __init__(self, reports: MongoWorkerReports, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._reports = reports
        self._clock = clock

    async def why_open(self) -> str | None:
        """Return that a worker's circuit is open, in words; None when none is.

        One that may be tried counts as closed: it needs an order to try it with, and a replay's copy is one.
        """
        for worker in await self._live():
            is_open = worker.circuit_held_open or (worker.circuit == "open" and worker.circuit_retry_after > 0)
            if WORK_QUEUE in worker.in_flight and is_open:
                because = worker.circuit_held_open or worker.last_failure
                why = f": {because}" if because else ""
                return f"the circuit to the supplier is open at worker {worker.name}{why}"
        return None

    async def all(self) -> list[WorkerView]:
        """Return the workers that have not stopped: those that report by name, then the lost ones."""
        return worker_views(await self._reports.all(), now=self._clock())

    async def runs_replays(self) -> bool:
        """Return whether a worker lives that moves replay jobs on."""
        return any(worker.runs_replays for worker in await self._live())

    async def taking_orders(self) -> Sequence[SeenWorker]:
        """Return the workers that take orders and were heard of within the last hour."""
        reports = await self._reports.all()
        live = {view.name for view in worker_views(reports, now=self._clock()) if not view.lost}
        return [
            SeenWorker(
                name=report["name"],
                is_live=report["name"] in live,
                has_stopped=bool(report.get("stopped")),
                carried_out=report.get("control", {}).get("revision", 0),
            )
            for report in reports
            if WORK_QUEUE in report.get("in_flight", {})
        ]

    async def _live(self) -> list[WorkerView]:
        return [worker for worker in await self.all() if not worker.lost]

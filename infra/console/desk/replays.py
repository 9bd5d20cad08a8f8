"""Replay jobs."""

from collections.abc import Sequence
from typing import Any

from infra.console.access.roles import Role
from infra.console.desk.expected import refuse_unless
from infra.console.desk.part import Part, needs
from infra.console.errors import NothingToDoError
from worker.domain.replay_job import TROUBLED, ReplayItem, ReplayJob, ReplayOptions
from worker.domain.replay_jobs import ReplayProgress
from worker.domain.replay_plan import ReplayPlan
from worker.domain.selection import Selection


class ReplayDesk(Part):
    """Plans, starts and steers jobs, which a worker performs. Every method raises StoreUnavailableError, too."""

    @needs(Role.READER)
    async def latest(self, *, limit: int) -> Sequence[ReplayProgress]:
        """Return the newest jobs, newest first."""
        return await self._services.jobs.latest(limit=limit)

    @needs(Role.READER)
    async def show(self, job_id: str) -> ReplayProgress:
        """Return how far a job is. Raises NotFoundError."""
        return await self._services.jobs.progress(job_id)

    @needs(Role.READER)
    async def troubled(self, job_id: str, *, limit: int) -> Sequence[ReplayItem]:
        """Return the letters of a job that have not ended well, at most so many."""
        return [item async for item in self._services.items.of_job(job_id, states=TROUBLED, limit=limit)]

    @needs(Role.READER)
    async def has_runner(self) -> bool:
        """Return whether a worker lives that moves replay jobs on."""
        return await self._services.fleet.runs_replays()

    @needs(Role.OPERATOR)
    def options(self, /, **given: Any) -> ReplayOptions:
        """Return how a job goes about it: what is given, else the defaults, and when a copy counts as overdue."""
        return ReplayOptions(overdue_after=self._settings.replay_overdue, **given)

    @needs(Role.OPERATOR)
    async def plan(self, selection: Selection) -> ReplayPlan:
        """Return what a replay of the selection would do; changes nothing."""
        return await self._services.jobs.plan(selection)

    @needs(Role.OPERATOR)
    async def start(
        self, selection: Selection, options: ReplayOptions, *, why: str, expected: int | None = None
    ) -> ReplayJob:
        """Store a new job. `expected`: how many letters the person was shown, when they were.

        Raises JobConflictError when another job is active, NothingToDoError when nothing is open,
        ChangedMeanwhileError when another number of letters would go out.
        """
        await self._services.jobs.refuse_a_second()
        plan = await self._services.jobs.plan(selection)
        if not plan.total:
            raise NothingToDoError(plan.why_nothing)
        refuse_unless(expected, plan.total)
        return await self._services.jobs.start(selection, options, by=self.person.name, why=why)

    @needs(Role.OPERATOR)
    async def pause(self, job_id: str, *, why: str) -> None:
        """Let nothing more go out until it is resumed. Raises JobConflictError, NotFoundError."""
        await self._services.jobs.pause(job_id, by=self.person.name, why=why)

    @needs(Role.OPERATOR)
    async def resume(self, job_id: str, *, why: str) -> None:
        """Go on with a job that is paused or has stopped by itself. Raises JobConflictError, NotFoundError."""
        await self._services.jobs.resume(job_id, by=self.person.name, why=why)

    @needs(Role.OPERATOR)
    async def cancel(self, job_id: str, *, why: str) -> None:
        """End it: what has gone out stays out, the rest stays open. Raises JobConflictError, NotFoundError."""
        await self._services.jobs.cancel(job_id, by=self.person.name, why=why)

    @needs(Role.OPERATOR)
    async def set_rate(self, job_id: str, rate: float, *, why: str) -> None:
        """Change how many letters a second go out at most. Raises JobConflictError, NotFoundError."""
        await self._services.jobs.set_rate(job_id, rate, by=self.person.name, why=why)

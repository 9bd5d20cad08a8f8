"""What an operator does with replay jobs: plan, start, watch, pause, resume, cancel. A worker performs them."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.audit import Audit
from worker.domain.audit_entry import AuditAction
from worker.domain.core import utc_now
from worker.domain.errors import JobConflictError, NotFoundError
from worker.domain.ports import IDeadLetterSearch
from worker.domain.replay_job import CANCELLABLE, RESUMABLE, RUNNING, JobState, ReplayJob, ReplayOptions, ReplayTally
from worker.domain.replay_pace import expected_end, rate_at
from worker.domain.replay_plan import ReplayPlan
from worker.domain.replay_ports import IReplayItems, IReplayJobs
from worker.domain.selection import DeadLetterGroup, DeadLetterState, Selection
from worker.domain.selection_words import in_words

_CANDIDATES = 10
_A_MOMENT = timedelta(milliseconds=1)  # times are stored in milliseconds

MAX_RATE = 1000.0
"""Letters a second, at most."""


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """A job and how far it is."""

    job: ReplayJob
    tally: ReplayTally
    rate: float
    """Letters a second that may go out now."""
    all_sent_at: datetime | None
    """When the last letter will have gone out, where that can be told."""
    arrived: int
    """Open letters that match, too, but were dead-lettered while the job ran: they are left alone."""


class ReplayJobs:
    """The service behind `logistics replay` and the console."""

    def __init__(
        self,
        *,
        letters: IDeadLetterSearch,
        jobs: IReplayJobs,
        items: IReplayItems,
        audit: Audit,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._letters = letters
        self._jobs = jobs
        self._items = items
        self._audit = audit
        self._clock = clock
        self._new_id = new_id

    async def plan(self, selection: Selection) -> ReplayPlan:
        """Return what a replay of the selection would do; changes nothing. Raises StoreUnavailableError."""
        wanted = [state for state in DeadLetterState if selection.state in {None, state}]
        groups: Sequence[DeadLetterGroup] = ()
        left_alone: dict[DeadLetterState, int] = {}
        for state in wanted:
            if state is DeadLetterState.OPEN:
                groups = await self._letters.groups(replace(selection, state=state))
            elif count := await self._letters.count(replace(selection, state=state)):
                left_alone[state] = count
        found = sum(group.count for group in groups) + sum(left_alone.values())
        return ReplayPlan(groups, left_alone, max(len(set(selection.ids)) - found, 0) if selection.ids else 0)

    async def refuse_a_second(self) -> None:
        """Raise JobConflictError when a job is active: no need to plan another then."""
        _refuse_beside(await self._jobs.active())

    async def start(self, selection: Selection, options: ReplayOptions, *, by: str, why: str) -> ReplayJob:
        """Store a new job; a worker begins with it at once.

        Only letters that are open now are part of it: the newest of them, not this host's clock, says what "now" is.
        Raises JobConflictError when another job is active.
        """
        now = self._clock()
        open_ones = replace(selection, state=DeadLetterState.OPEN)
        groups = await self._letters.groups(open_ones)
        job = ReplayJob(
            id=self._new_id(),
            state=JobState.SELECTING,
            selection=open_ones,
            options=options,
            by=by,
            why=why,
            created_at=now,
            state_since=now,
            cutoff=max((group.last_seen for group in groups), default=now),
        )
        async with self._audit.recorded(
            AuditAction.REPLAY_START, who=by, why=why, what=f"job {job.id}: {in_words(selection)}", job_id=job.id
        ) as recording:
            _refuse_beside(await self._jobs.add(job))
            recording.count = sum(group.count for group in groups)
        return job

    async def pause(self, job_id: str, *, by: str, why: str = "") -> ReplayJob:
        """Let nothing more go out until it is resumed. Raises JobConflictError, NotFoundError."""
        return await self._change(job_id, "pause", RUNNING, by=by, why=why)

    async def resume(self, job_id: str, *, by: str, why: str = "") -> ReplayJob:
        """Go on: a paused job where it was, one that stopped by itself with a canary first.

        Either begins slowly again. Raises JobConflictError, NotFoundError.
        """
        return await self._change(job_id, "resume", RESUMABLE, by=by, why=why)

    async def cancel(self, job_id: str, *, by: str, why: str = "") -> ReplayJob:
        """End it: what has gone out stays out, the rest stays open. Raises JobConflictError, NotFoundError."""
        return await self._change(job_id, "cancel", CANCELLABLE, by=by, why=why)

    async def set_rate(self, job_id: str, rate: float, *, by: str, why: str = "") -> None:
        """Change how many letters a second go out at most, while the job runs or before it is resumed.

        Raises JobConflictError for a job that is over, NotFoundError, ValueError for a rate out of range.
        """
        if not 0 < rate <= MAX_RATE:
            raise ValueError(f"a rate is more than 0 and at most {MAX_RATE:g} letters a second")
        job = await self._get(job_id)
        what = f"job {job_id}: {job.options.rate:g} → {rate:g} letters a second"
        async with self._audit.recorded(AuditAction.REPLAY_RATE, who=by, why=why, what=what, job_id=job_id):
            if not await self._jobs.set_rate(job_id, rate):
                raise JobConflictError(f"the replay job {job_id} is over: it has no rate any more")

    async def progress(self, job_id: str) -> ReplayProgress:
        """Return how far a job is. Raises NotFoundError."""
        return await self._progress(await self._get(job_id))

    async def latest(self, *, limit: int) -> list[ReplayProgress]:
        """Return the newest jobs, newest first."""
        return [await self._progress(job) for job in await self._jobs.latest(limit=limit)]

    async def full_id(self, text: str) -> str:
        """Return the one job id that begins with `text`. Raises NotFoundError when there is none, or several."""
        found = await self._jobs.ids_starting_with(text.strip().lower(), limit=_CANDIDATES)
        if len(found) == 1:
            return found[0]
        problem = f"several begin so: {', '.join(found)}" if found else "'logistics replay list' shows those there are"
        raise NotFoundError(f"no single replay job has an id that begins with {text!r}: {problem}")

    async def _progress(self, job: ReplayJob) -> ReplayProgress:
        now = self._clock()
        overdue_before = now - timedelta(seconds=job.options.overdue_after)
        tally = await self._items.tally(job.id, overdue_before=overdue_before)
        ramping = job.state is JobState.RAMP
        rate = rate_at(job.options, (now - job.state_since).total_seconds()) if ramping else 0.0
        return ReplayProgress(job, tally, rate, expected_end(job, tally, now=now), await self._arrived(job))

    async def _arrived(self, job: ReplayJob) -> int:
        if job.selection.ids:
            return 0
        since = max(job.takes_until + _A_MOMENT, job.selection.since or job.takes_until)
        until = job.selection.until
        if job.finished_at is not None:
            until = min(until or job.finished_at, job.finished_at)
        if until is not None and since >= until:
            return 0
        return await self._letters.count(replace(job.selection, since=since, until=until, not_of_job=job.id))

    async def _change(self, job_id: str, verb: str, allowed: frozenset[JobState], *, by: str, why: str) -> ReplayJob:
        async with self._audit.recorded(
            AuditAction(f"replay.{verb}"), who=by, why=why, what=f"job {job_id}", job_id=job_id
        ):
            while True:
                job = await self._get(job_id)
                if job.state not in allowed:
                    raise JobConflictError(
                        f"the replay job {job.id} is {job.state}: it cannot {verb} now. {_way_out(job)}"
                    )
                changed = _changed(job, verb, by=by, why=why, now=self._clock())
                if await self._jobs.move(changed, expected=job):
                    return changed

    async def _get(self, job_id: str) -> ReplayJob:
        job = await self._jobs.get(job_id)
        if job is None:
            raise NotFoundError(f"there is no replay job {job_id!r}")
        return job


def _refuse_beside(active: ReplayJob | None) -> None:
    """Raise JobConflictError when there is an active job."""
    if active is not None:
        raise JobConflictError(
            f"the replay job {active.id} of {active.by} is active ({active.state}; {active.why}): one at a time. "
            f"{_way_out(active)}"
        )


def _way_out(job: ReplayJob) -> str:
    """Return what can be done about a job, as it is."""
    if job.is_over:
        return "What is still open goes into a new job: 'logistics replay start'"
    if job.state in RESUMABLE:
        return f"'logistics replay resume {job.id}' goes on with it, '… cancel {job.id}' ends it"
    return f"'logistics replay show {job.id} --follow' waits for it, '… cancel {job.id}' ends it"


def _changed(job: ReplayJob, verb: str, *, by: str, why: str, now: datetime) -> ReplayJob:
    """Return the job after an operator's word."""
    said = f"by {by}{f': {why}' if why else ''}"
    changed = replace(job, state_since=now, note=None)
    if verb == "pause":
        return replace(changed, state=JobState.PAUSED, resumes_as=job.state, because=f"paused {said}")
    if verb == "cancel":
        return replace(changed, state=JobState.CANCELLED, because=f"cancelled {said}", finished_at=now)
    if job.state is JobState.PAUSED:
        return replace(changed, state=job.resumes_as or JobState.CANARY, resumes_as=None, because=None)
    first = JobState.CANARY if job.options.canary else JobState.RAMP
    return replace(changed, state=first, round=job.round + 1, because=None)

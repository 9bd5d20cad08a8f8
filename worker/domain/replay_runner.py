"""Moving the running replay job on, step by step. Whoever takes over goes on where the store says it is."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.audit import Audit
from worker.domain.audit_entry import AuditAction
from worker.domain.core import utc_now
from worker.domain.errors import BrokerUnavailableError, JobConflictError, StoreUnavailableError
from worker.domain.log import StructuredLogger
from worker.domain.replay_job import ON_ITS_WAY, ItemState, JobState, ReplayItem, ReplayJob
from worker.domain.replay_pace import WINDOW, rate_at, why_canary_failed, why_stop
from worker.domain.replay_ports import ICircuits, IReplayItems, IReplayJobs
from worker.domain.replay_sender import MAX_WAVE, ReplaySender, wave_of
from worker.domain.replay_settling import ReplaySettling

LEASE = 5.0
"""Seconds for which a runner holds a job; another goes on with it after that."""
_TICK = 0.25
_LOOK_EVERY = 1.0
_STRAGGLERS_EVERY = 5.0
"""Seconds between looks at what jobs left behind that are over, while nothing of that is known."""
_IDLE = 1.0

_log = StructuredLogger("logistics.replays")


class ReplayRunner:
    """One worker's hand on the replay jobs."""

    def __init__(
        self,
        *,
        jobs: IReplayJobs,
        items: IReplayItems,
        sender: ReplaySender,
        settling: ReplaySettling,
        circuits: ICircuits,
        audit: Audit,
        name: str,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name`: who this is, among the workers."""
        self._jobs = jobs
        self._items = items
        self._sender = sender
        self._settling = settling
        self._circuits = circuits
        self._audit = audit
        self._name = name
        self._clock = clock
        self._monotonic = monotonic
        self._pages: dict[str, str | None] = {}
        self._allowance = 0.0
        self._paced_at = monotonic()
        self._next_look = 0.0
        self._next_stragglers = 0.0
        self._stragglers = 0
        self._on_its_way = 0
        self.holds_job = False
        """Whether there was a job to move on at the last step."""

    async def step(self) -> float:
        """Move the running job on by a step; return for how many seconds to pause.

        Raises StoreUnavailableError and BrokerUnavailableError: nothing is lost then, the next step finds out.
        """
        try:
            return await self._step()
        except (StoreUnavailableError, BrokerUnavailableError):
            self._settling.doubt_anew()
            raise

    async def _step(self) -> float:
        job = await self._jobs.hold(self._name, seconds=LEASE)
        let_go, self.holds_job = self.holds_job and job is None, job is not None
        is_waited_for = job is None and self._stragglers > 0
        if let_go or is_waited_for or self._monotonic() >= self._next_stragglers:
            self._stragglers = await self._settling.settle(None)
            self._next_stragglers = self._monotonic() + _STRAGGLERS_EVERY
        if job is None:
            return _IDLE
        match job.state:
            case JobState.SELECTING:
                return await self._select(job)
            case JobState.CANARY:
                return await self._canary(job)
            case JobState.RAMP:
                return await self._ramp(job)
            case _:
                return await self._settle(job)

    async def release(self) -> None:
        """Give the job up, so that another worker goes on with it at once."""
        await self._jobs.release(self._name)

    async def _select(self, job: ReplayJob) -> float:
        page = await self._items.select(job, after=self._pages.get(job.id))
        if page is not None:
            self._pages[job.id] = page
            return 0.0
        self._pages.pop(job.id, None)
        tally = await self._items.tally(job.id, overdue_before=self._clock())
        selected = replace(job, total=tally.of(ItemState.WAITING))
        if not selected.total:
            await self._end(selected, JobState.DONE, because="no open dead letter matched")
        else:
            await self._move(selected, JobState.CANARY if job.options.canary else JobState.RAMP)
        return 0.0

    async def _canary(self, job: ReplayJob) -> float:
        await self._settling.settle(job)
        canaries = await self._items.canaries(job.id, canary_round=job.round)
        circuit = await self._circuits.why_open()
        why = why_canary_failed(canaries, job.options, now=self._clock()) or (circuit if canaries else None)
        if why is not None:
            return await self._stop(job, why)
        if circuit is not None:
            await self._note(job, f"waits: {circuit}")
            return _LOOK_EVERY
        missing = job.options.canary - sum(item.state in {*ON_ITS_WAY, ItemState.RESOLVED} for item in canaries)
        waiting = await self._items.next_waiting(job.id, limit=MAX_WAVE)
        if missing > 0 and waiting:
            await self._send(job, [replace(item, round=job.round) for item in wave_of(waiting, letters=missing)])
            return _TICK
        if any(item.state in ON_ITS_WAY for item in canaries):
            await self._note(job, "waits for the outcome of the canary")
            return _TICK
        await self._move(job, JobState.RAMP if waiting else JobState.SETTLING)
        return 0.0

    async def _ramp(self, job: ReplayJob) -> float:
        if self._monotonic() >= self._next_look:
            self._on_its_way = await self._settling.settle(job)
            outcomes = await self._items.last_ended(job.id, since=job.state_since, limit=WINDOW)
            why = why_stop(outcomes, job.options) or await self._circuits.why_open()
            if why is not None:
                return await self._stop(job, why)
            self._next_look = self._monotonic() + _LOOK_EVERY
        letters = self._letters_allowed(job)
        room = job.options.in_flight - self._on_its_way
        waiting = await self._items.next_waiting(job.id, limit=MAX_WAVE)
        if not waiting:
            await self._move(job, JobState.SETTLING)
            return 0.0
        await self._note(job, f"waits: {self._on_its_way:,} copies are on their way" if room <= 0 else None)
        wave = wave_of(waiting, letters=min(letters, room))
        if wave:
            self._allowance -= len(wave)
            self._on_its_way += len(wave)
            await self._send(job, wave)
        return min(_TICK, MAX_WAVE / (2 * job.options.rate))

    async def _settle(self, job: ReplayJob) -> float:
        await self._settling.settle(job)
        now = self._clock()
        tally = await self._items.tally(job.id, overdue_before=now - timedelta(seconds=job.options.overdue_after))
        if tally.of(ItemState.WAITING):  # a runner died before it had claimed them
            await self._move(job, JobState.RAMP)
            return 0.0
        if tally.on_its_way > tally.overdue:
            await self._note(job, f"waits for {tally.on_its_way:,} outcomes")
            return _LOOK_EVERY
        overdue = f"it ended with {tally.overdue:,} copies overdue: they had no outcome yet" if tally.overdue else None
        await self._end(job, JobState.DONE, because=overdue)
        return 0.0

    def _letters_allowed(self, job: ReplayJob) -> int:
        """Return how many letters may go out now; what was not used earlier is worth a second's at most."""
        now, ramped = self._monotonic(), (self._clock() - job.state_since).total_seconds()
        rate = rate_at(job.options, ramped)
        self._allowance += rate * min(now - self._paced_at, 1.0)
        self._allowance = min(self._allowance, max(rate, 1.0), MAX_WAVE)
        self._paced_at = now
        return int(self._allowance)

    async def _send(self, job: ReplayJob, wave: Sequence[ReplayItem]) -> None:
        now = self._clock()
        await self._items.record([replace(item, state=ItemState.IN_DOUBT, sent_at=now) for item in wave])
        await self._items.record(await self._sender.send(job, wave))

    async def _note(self, job: ReplayJob, note: str | None) -> None:
        if job.note != note:
            await self._jobs.note(job.id, note)

    async def _move(self, job: ReplayJob, state: JobState, *, because: str | None = None) -> bool:
        """Take the job to a state, unless somebody paused or cancelled it meanwhile."""
        now = self._clock()
        finished_at = now if state is JobState.DONE else None
        moved = replace(job, state=state, state_since=now, because=because, note=None, finished_at=finished_at)
        done = await self._jobs.move(moved, expected=job)
        if done:
            self._allowance, self._paced_at, self._next_look = 0.0, self._monotonic(), 0.0
            _log.info("replay.moved", job=job.id, state=str(state), total=job.total, because=because)
        return done

    async def _stop(self, job: ReplayJob, why: str) -> float:
        await self._end(job, JobState.STOPPED, because=why)
        return 0.0

    async def _end(self, job: ReplayJob, state: JobState, *, because: str | None) -> None:
        """Take the job to a state that no operator asked for, and write that down."""
        entry_id = f"{job.id}:{state}:{job.round}:{int(job.state_since.timestamp() * 1000)}"
        with suppress(JobConflictError):
            async with self._audit.recorded(
                AuditAction(f"replay.{state}"),
                who=f"worker {self._name}",
                why=because or "every letter has its outcome",
                what=f"job {job.id}",
                job_id=job.id,
                entry_id=entry_id,
            ) as recording:
                recording.count = job.total
                if not await self._move(job, state, because=because):
                    raise JobConflictError("it was paused or cancelled meanwhile")

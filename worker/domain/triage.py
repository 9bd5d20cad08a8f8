"""Triage: dead letters that nobody will replay are discarded for a time, and restored when that was wrong.

open ──discard──▶ discarded ──restore──▶ open        a discarded one goes when its retention is over
replaying ──restore, by its id, when overdue──▶ open (`given_up`): its copy was lost, or purged by hand
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from worker.domain.audit import Audit, Recording
from worker.domain.audit_entry import AuditAction
from worker.domain.core import utc_now
from worker.domain.ports import IDeadLetterSearch, ITriage
from worker.domain.selection import DeadLetterState, Selection
from worker.domain.selection_words import in_words

DEFAULT_RETENTION = timedelta(days=14)
DEFAULT_OVERDUE_AFTER = timedelta(minutes=30)
_BATCH = 1_000
_MOVES_FROM = {AuditAction.DISCARD: DeadLetterState.OPEN, AuditAction.RESTORE: DeadLetterState.DISCARDED}


@dataclass(frozen=True, slots=True)
class TriagePlan:
    """What a discard or restore would move: the letters that matched when it was made, and none that came later."""

    action: AuditAction
    """`discard` or `restore`."""
    selection: Selection
    ids: tuple[str, ...]
    overdue: tuple[str, ...] = ()
    """Letters named by id that are replaying and overdue: a restore gives their replay up."""
    left_alone: Mapping[DeadLetterState, int] = field(default_factory=dict)
    """How many of the selection are in a state that this does not move, by state."""
    not_matching: int = 0
    """Letters that were named by id but do not match the other fields of the selection."""

    @property
    def count(self) -> int:
        """How many letters would be moved."""
        return len(self.ids) + len(self.overdue)

    @property
    def why_nothing(self) -> str:
        """Why it would have nothing to do, when nothing would be moved."""
        others = ", ".join(f"{count:,} {state}" for state, count in self.left_alone.items())
        if not others:
            return "no dead letter matches"
        overdue = "" if self.action is AuditAction.DISCARD else ", and none has a replay that is overdue"
        return f"none of these dead letters is {_MOVES_FROM[self.action]} ({others}){overdue}"


@dataclass(frozen=True, slots=True)
class TriageReport:
    """What a discard or restore moved."""

    moved: int
    given_up: int
    changed: int
    """Letters of the plan that were left alone: they changed since it was made."""
    expires_at: datetime | None = None
    """When the discarded ones go."""


class Triage:
    """Discards and restores dead letters, and writes down who did it and why."""

    def __init__(
        self,
        *,
        dead_letters: IDeadLetterSearch,
        triage: ITriage,
        audit: Audit,
        retention: timedelta = DEFAULT_RETENTION,
        overdue_after: timedelta = DEFAULT_OVERDUE_AFTER,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`retention`: how long discarded letters are kept. `overdue_after`: when a replay may be given up."""
        self._dead_letters = dead_letters
        self._triage = triage
        self._audit = audit
        self._retention = retention
        self._overdue_after = overdue_after
        self._clock = clock

    @property
    def overdue_after(self) -> timedelta:
        """How long a copy must be without an end before its replay can be given up."""
        return self._overdue_after

    async def plan_discard(self, selection: Selection) -> TriagePlan:
        """Return what discarding the selection would do; changes nothing. Raises StoreUnavailableError."""
        return await self._plan(AuditAction.DISCARD, selection, overdue=())

    async def plan_restore(self, selection: Selection) -> TriagePlan:
        """Return what restoring the selection would do; changes nothing. Raises StoreUnavailableError.

        Replays are given up only for letters that are named by id: never by a filter's width.
        """
        overdue: Sequence[str] = ()
        if selection.ids and selection.state in {None, DeadLetterState.REPLAYING}:
            overdue = await self._triage.ids(
                replace(selection, state=DeadLetterState.REPLAYING), claimed_before=self._overdue_before()
            )
        return await self._plan(AuditAction.RESTORE, selection, overdue=overdue)

    async def discard(self, plan: TriagePlan, *, why: str, by: str) -> TriageReport:
        """Discard the letters of the plan that are still open and still match. Safe to repeat.

        Raises StoreUnavailableError: some may have been moved; the same again moves the rest.
        """
        expires_at = self._clock() + self._retention
        async with self._recorded(plan, why=why, by=by) as recording:
            for some in _batches(plan, plan.ids):
                moved = await self._triage.discard(some, by=by, why=why, expires_at=expires_at, now=self._clock())
                recording.count = (recording.count or 0) + moved
        moved = recording.count or 0
        return TriageReport(moved, given_up=0, changed=plan.count - moved, expires_at=expires_at)

    async def restore(self, plan: TriagePlan, *, why: str, by: str) -> TriageReport:
        """Open the letters of the plan that are still discarded, or still overdue. Errors as in `discard`."""
        given_up = 0
        async with self._recorded(plan, why=why, by=by) as recording:
            for some in _batches(plan, plan.ids):
                moved = await self._triage.restore(some, by=by, why=why, now=self._clock())
                recording.count = (recording.count or 0) + moved
            for some in _batches(plan, plan.overdue):
                moved = await self._triage.give_up(
                    some, claimed_before=self._overdue_before(), by=by, why=why, now=self._clock()
                )
                given_up += moved
                recording.count = (recording.count or 0) + moved
        moved = recording.count or 0
        return TriageReport(moved - given_up, given_up=given_up, changed=plan.count - moved)

    async def _plan(self, action: AuditAction, selection: Selection, *, overdue: Sequence[str]) -> TriagePlan:
        moves_from = _MOVES_FROM[action]
        ids: Sequence[str] = ()
        if selection.state in {None, moves_from}:
            ids = await self._triage.ids(replace(selection, state=moves_from))
        left_alone = {}
        for state in DeadLetterState:
            if state is not moves_from and selection.state in {None, state}:
                left_alone[state] = await self._dead_letters.count(replace(selection, state=state))
        found = len(ids) + sum(left_alone.values())
        if overdue:
            left_alone[DeadLetterState.REPLAYING] -= len(overdue)
        return TriagePlan(
            action,
            selection,
            tuple(ids),
            overdue=tuple(overdue),
            left_alone={state: count for state, count in left_alone.items() if count > 0},
            not_matching=max(len(set(selection.ids)) - found, 0) if selection.ids else 0,
        )

    @asynccontextmanager
    async def _recorded(self, plan: TriagePlan, *, why: str, by: str) -> AsyncIterator[Recording]:
        what = f"{plan.count:,} dead letter{'s' if plan.count != 1 else ''} ({in_words(plan.selection)})"
        async with self._audit.recorded(plan.action, who=by, why=why, what=what) as recording:
            recording.count = 0
            yield recording

    def _overdue_before(self) -> datetime:
        return self._clock() - self._overdue_after


def _batches(plan: TriagePlan, ids: Sequence[str]) -> Sequence[Selection]:
    """Return the plan's selection narrowed to these ids, a thousand at a time; what matches no more drops out."""
    return [
        replace(plan.selection, state=None, ids=tuple(ids[start : start + _BATCH]))
        for start in range(0, len(ids), _BATCH)
    ]

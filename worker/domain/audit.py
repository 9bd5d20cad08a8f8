"""The audit log: who did what, when, why, and to how many. Entries are added, never changed."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from worker.domain.audit_entry import AuditAction, AuditEntry
from worker.domain.core import utc_now
from worker.domain.errors import LogisticsError
from worker.domain.ports import IAuditLog


@dataclass(slots=True)
class Recording:
    """An action under way; who performs it says here how many it moved."""

    count: int | None = None


class Audit:
    """Writes an action down before it is performed, and its end afterwards.

    So an action that a crash cut short stands in the log too, without an end.
    """

    def __init__(
        self,
        log: IAuditLog,
        *,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._log = log
        self._clock = clock
        self._new_id = new_id

    @asynccontextmanager
    async def recorded(
        self,
        action: AuditAction,
        *,
        who: str,
        why: str,
        what: str,
        job_id: str | None = None,
        entry_id: str | None = None,
    ) -> AsyncIterator[Recording]:
        """Record the action that the block performs. An error of ours ends it as `refused: …` and goes on its way.

        `entry_id`: the entry's id, where the same action must not be written down twice. Raises
        StoreUnavailableError, and the block is not entered then.
        """
        entry = AuditEntry(entry_id or self._new_id(), self._clock(), who, str(action), why, what, job_id)
        await self._log.begin(entry)
        recording = Recording()
        try:
            yield recording
        except LogisticsError as error:
            await self._log.finish(entry.id, count=recording.count, result=f"refused: {error}", now=self._clock())
            raise
        await self._log.finish(entry.id, count=recording.count, result="done", now=self._clock())

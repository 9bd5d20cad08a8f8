"""The audit log as a fake: it keeps the contract of `IAuditLog`, in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from worker.domain.audit_entry import AuditEntry
from worker.domain.errors import StoreUnavailableError


class FakeAuditLog:
    """`IAuditLog` in memory."""

    def __init__(self) -> None:
        self.begun: dict[str, AuditEntry] = {}
        self._ends: dict[str, tuple[int | None, str]] = {}
        self.is_down = False

    @property
    def all(self) -> list[AuditEntry]:
        """Every action, oldest first."""
        return [self._with_end(entry) for entry in self.begun.values()]

    async def begin(self, entry: AuditEntry) -> None:
        await self._answer()
        self.begun.setdefault(entry.id, entry)

    async def finish(self, entry_id: str, *, count: int | None, result: str, now: datetime) -> None:
        del now
        await self._answer()
        self._ends.setdefault(entry_id, (count, result))

    async def entries(
        self,
        *,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
        who: str | None = None,
        action: str | None = None,
        job_id: str | None = None,
    ) -> Sequence[AuditEntry]:
        await self._answer()
        found = [
            self._with_end(entry)
            for entry in self.begun.values()
            if (since is None or entry.at >= since)
            and (until is None or entry.at < until)
            and (who is None or entry.who == who)
            and (job_id is None or entry.job_id == job_id)
            and (action is None or entry.action == action or entry.action.startswith(f"{action}."))
        ]
        return sorted(found, key=lambda entry: (entry.at, entry.id), reverse=True)[:limit]

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise StoreUnavailableError("the fake store is down")

    def _with_end(self, entry: AuditEntry) -> AuditEntry:
        count, result = self._ends.get(entry.id, (None, None))
        return replace(entry, count=count, result=result)

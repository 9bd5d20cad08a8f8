"""The whole: what it looks like now, and who did what to it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from infra.console.access.roles import Role
from infra.console.desk.part import Part, needs
from worker.domain.audit_entry import AuditEntry
from worker.feed import LivePicture
from worker.history import History

_PATIENCE = 5.0


class SystemDesk(Part):
    """Looks at the system."""

    @needs(Role.READER)
    def live(self) -> LivePicture:
        """Return queues, workers, shipments and dead letters of this second, last known where a server is away.

        Its `number` is higher than that of every picture before. Servers are asked twice a second, however many look.
        """
        return self._house.feed.latest()

    @needs(Role.READER)
    async def next(self, *, after: int) -> LivePicture:
        """Return the newest picture as soon as there is one with a higher number, or after 5 s all the same."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await self._house.feed.next(after=after)
        return self._house.feed.latest()

    @needs(Role.READER)
    async def history(self, *, hours: float) -> History:
        """Return how the last so many hours were, as lines of points; gaps where nobody looked. From 0.1 to 10,000."""
        return await self._house.feed.history(hours=hours)

    @needs(Role.READER)
    async def audit(
        self,
        *,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
        who: str | None = None,
        action: str | None = None,
        job_id: str | None = None,
    ) -> Sequence[AuditEntry]:
        """Return who did what, newest first; `action` also matches what begins with it and a dot.

        Raises StoreUnavailableError.
        """
        return await self._services.audit_log.entries(
            limit=limit, since=since, until=until, who=who, action=action, job_id=job_id
        )

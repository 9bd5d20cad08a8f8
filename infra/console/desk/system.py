"""The whole: what it looks like now, and who did what to it."""

from collections.abc import Sequence
from datetime import datetime

from infra.console.access.roles import Role
from infra.console.desk.part import Part, needs
from worker.domain.audit_entry import AuditEntry
from worker.overview_picture import Overview


class SystemDesk(Part):
    """Looks at the system."""

    @needs(Role.READER)
    async def overview(self) -> Overview:
        """Return queues, workers, shipments and dead letters of this moment. Raises nothing for a server away."""
        return await self._house.overview.take()

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

"""Setting dead letters aside, and taking them back."""

from infra.console.access.roles import Role
from infra.console.desk.part import Part, needs
from infra.console.errors import NothingToDoError
from worker.domain.selection import Selection
from worker.domain.triage import TriagePlan, TriageReport


class TriageDesk(Part):
    """Discards and restores. Every method raises StoreUnavailableError, too."""

    @needs(Role.OPERATOR)
    async def plan_discard(self, selection: Selection) -> TriagePlan:
        """Return what discarding the selection would do; changes nothing."""
        return await self._services.triage.plan_discard(selection)

    @needs(Role.OPERATOR)
    async def plan_restore(self, selection: Selection) -> TriagePlan:
        """Return what restoring the selection would do; changes nothing."""
        return await self._services.triage.plan_restore(selection)

    @needs(Role.OPERATOR)
    async def discard(self, plan: TriagePlan, *, why: str) -> TriageReport:
        """Discard the letters of a plan that are still open. Raises NothingToDoError for an empty plan."""
        _refuse_empty(plan)
        return await self._services.triage.discard(plan, why=why, by=self.person.name)

    @needs(Role.OPERATOR)
    async def restore(self, plan: TriagePlan, *, why: str) -> TriageReport:
        """Open the letters of a plan that are still discarded, or overdue. Raises NothingToDoError."""
        _refuse_empty(plan)
        return await self._services.triage.restore(plan, why=why, by=self.person.name)


def _refuse_empty(plan: TriagePlan) -> None:
    if not plan.count:
        raise NothingToDoError(plan.why_nothing)

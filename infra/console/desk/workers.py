"""The workers, and holding them back by hand."""

from collections.abc import Sequence

from infra.console.access.roles import Role
from infra.console.desk.part import Part, needs
from worker.domain.controls import Wishes
from worker.domain.worker_controls import Answers
from worker.worker_views import WorkerView


class WorkerDesk(Part):
    """Shows the workers and says what they shall do; they carry it out within 2 s.

    `workers`: names, or None for the whole fleet, those that start later included. Every method raises
    StoreUnavailableError; those that change something NotFoundError, too, for a name that no worker has.
    """

    @needs(Role.READER)
    async def all(self) -> Sequence[WorkerView]:
        """Return the workers that have not stopped; those that live first."""
        return await self._services.fleet.all()

    @needs(Role.READER)
    async def wishes(self) -> Wishes:
        """Return what is wished of them now."""
        return await self._services.controls.wishes()

    @needs(Role.READER)
    async def answers(self, revision: int, workers: Sequence[str] | None) -> Answers:
        """Wait until the workers have carried out this revision of the wishes, 3 s at most; return which have."""
        return await self._services.controls.answers(revision, workers)

    @needs(Role.ADMIN)
    async def pause(self, workers: Sequence[str] | None, *, why: str) -> Wishes:
        """Take no more orders; what is in hand is finished, delivery notices and dead letters go on."""
        return await self._services.controls.pause(workers, by=self.person.name, why=why)

    @needs(Role.ADMIN)
    async def resume(self, workers: Sequence[str] | None, *, why: str) -> Wishes:
        """Take orders again, few at first."""
        return await self._services.controls.resume(workers, by=self.person.name, why=why)

    @needs(Role.ADMIN)
    async def set_prefetch(self, workers: Sequence[str] | None, prefetch: int | None, *, why: str) -> Wishes:
        """Handle so many orders at once; None: as the worker's own setting says. Raises ControlRefusedError."""
        return await self._services.controls.set_prefetch(workers, prefetch, by=self.person.name, why=why)

    @needs(Role.ADMIN)
    async def open_circuit(self, workers: Sequence[str] | None, *, why: str) -> Wishes:
        """Ask the supplier for nothing more until the circuit is reset; orders wait."""
        return await self._services.controls.open_circuit(workers, by=self.person.name, why=why)

    @needs(Role.ADMIN)
    async def reset_circuit(self, workers: Sequence[str] | None, *, why: str) -> Wishes:
        """Close the circuit now; it can open by itself again."""
        return await self._services.controls.reset_circuit(workers, by=self.person.name, why=why)

"""What holding workers back needs from the outside. Each docstring is the contract that the contract tests check."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.domain.controls import Wishes


class IWorkerControls(Protocol):
    """The stored wishes, all of them as one. Raises StoreUnavailableError; a write may have happened then."""

    async def read(self) -> Wishes:
        """Return the wishes as a majority of the store has them; none, of revision 0, where nothing was ever wished."""
        ...

    async def replace(self, wishes: Wishes, *, expected: int) -> bool:
        """Store these in the place of those of the expected revision; False, and nothing stored, if it is another."""
        ...


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker that takes orders, as it reported itself."""

    name: str
    is_live: bool
    """It has not stopped, and was heard of within 15 s."""
    has_stopped: bool
    """It said so; one of the same name may start again."""
    carried_out: int
    """The revision of the wishes it has carried out; 0: none yet, or a version that knows of none."""


class IWorkers(Protocol):
    """The workers' reports."""

    async def taking_orders(self) -> Sequence[SeenWorker]:
        """Return the workers that take orders and were heard of within the last hour. Raises StoreUnavailableError."""
        ...

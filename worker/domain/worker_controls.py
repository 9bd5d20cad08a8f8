"""What an operator does to hold workers back: pause, prefetch, circuit. The workers carry it out."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.domain.audit import Audit
from worker.domain.audit_entry import AuditAction
from worker.domain.control_ports import IWorkerControls, IWorkers, SeenWorker
from worker.domain.controls import ControlAction, Wish, Wishes, checked_prefetch
from worker.domain.core import utc_now
from worker.domain.errors import NotFoundError

_PATIENCE = 3.0
_ASK_EVERY = 0.2
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Answers:
    """Which workers have carried out a wish."""

    done: Sequence[str]
    silent: Sequence[str]
    """They live, or were named, and have not said so yet: they do it as soon as they can read the store."""


class WorkerControls:
    """The service behind `logistics workers` and the console.

    `workers`: names, or None for the whole fleet, those that start later included. Every method raises
    StoreUnavailableError; those that change something NotFoundError, too, for a name that no worker has.
    """

    def __init__(
        self,
        *,
        controls: IWorkerControls,
        workers: IWorkers,
        audit: Audit,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._controls = controls
        self._workers = workers
        self._audit = audit
        self._clock = clock
        self._sleep = sleep
        self._timer = timer

    async def wishes(self) -> Wishes:
        """Return what is wished now."""
        return await self._controls.read()

    async def pause(self, workers: Sequence[str] | None, *, by: str, why: str) -> Wishes:
        """Take no more orders; what is in hand is finished, delivery notices and dead letters go on."""
        return await self._wish(ControlAction.PAUSE, workers, by=by, why=why)

    async def resume(self, workers: Sequence[str] | None, *, by: str, why: str = "") -> Wishes:
        """Take orders again, few at first; one worker's word counts for it, whatever the fleet is told."""
        return await self._wish(ControlAction.RESUME, workers, by=by, why=why)

    async def set_prefetch(
        self, workers: Sequence[str] | None, prefetch: int | None, *, by: str, why: str = ""
    ) -> Wishes:
        """Handle so many orders at once; None: as the worker's own setting says. Raises ControlRefusedError."""
        return await self._wish(ControlAction.PREFETCH, workers, by=by, why=why, prefetch=checked_prefetch(prefetch))

    async def open_circuit(self, workers: Sequence[str] | None, *, by: str, why: str) -> Wishes:
        """Ask the supplier for nothing more, not even to probe, until the circuit is reset; orders wait."""
        return await self._wish(ControlAction.OPEN_CIRCUIT, workers, by=by, why=why)

    async def reset_circuit(self, workers: Sequence[str] | None, *, by: str, why: str = "") -> Wishes:
        """Close the circuit now, whoever or whatever has opened it; it can open by itself again."""
        return await self._wish(ControlAction.RESET_CIRCUIT, workers, by=by, why=why)

    async def answers(self, revision: int, workers: Sequence[str] | None, *, patience: float = _PATIENCE) -> Answers:
        """Wait until the workers have carried out this revision, `patience` seconds at most; return which have."""
        until = self._timer() + patience
        while True:
            answers = _answers(await self._workers.taking_orders(), revision, workers)
            if not answers.silent or self._timer() >= until:
                return answers
            await self._sleep(_ASK_EVERY)

    async def _wish(
        self,
        action: ControlAction,
        workers: Sequence[str] | None,
        *,
        by: str,
        why: str,
        prefetch: int | None = None,
    ) -> Wishes:
        wish = Wish(action, worker=None, by=by, why=why, since=self._clock(), prefetch=prefetch)
        what = _in_words(wish, workers)
        async with self._audit.recorded(AuditAction(f"workers.{action}"), who=by, why=why, what=what):
            while True:
                before = await self._controls.read()
                seen = await self._workers.taking_orders()  # after the wishes: whoever is named there has reported
                _refuse_unknown(workers, seen)
                after = before.with_wish(wish, workers=workers, known={worker.name for worker in seen})
                if await self._controls.replace(after, expected=before.revision):
                    return after


def _answers(seen: Sequence[SeenWorker], revision: int, workers: Sequence[str] | None) -> Answers:
    asked = [worker.name for worker in seen if worker.is_live] if workers is None else dict.fromkeys(workers)
    have = {worker.name for worker in seen if worker.carried_out >= revision}
    return Answers(done=[name for name in asked if name in have], silent=[name for name in asked if name not in have])


def _refuse_unknown(workers: Sequence[str] | None, seen: Sequence[SeenWorker]) -> None:
    running = [worker.name for worker in seen if not worker.has_stopped]
    for name in workers or ():
        if name not in running:
            others = ", ".join(running[:_NAMED]) or "none"
            raise NotFoundError(f"no worker that takes orders is called {name!r}; there are: {others}")


def _in_words(wish: Wish, workers: Sequence[str] | None) -> str:
    """Return what it is done to, for the audit log: the action itself is named there."""
    whom = "all workers" if workers is None else f"worker {', '.join(workers)}"
    if wish.action is not ControlAction.PREFETCH:
        return whom
    return f"{whom}: {'as set' if wish.prefetch is None else f'{wish.prefetch:,}'}"

"""The wishes for the workers and the workers' reports as fakes: they keep the contracts of `control_ports`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from worker.domain.control_ports import SeenWorker
from worker.domain.controls import NO_WISHES, Wishes
from worker.domain.errors import StoreUnavailableError


class FakeWorkerControls:
    """`IWorkerControls` in memory."""

    def __init__(self) -> None:
        self.wishes = NO_WISHES
        self.is_down = False
        self.before_write: Callable[[], Awaitable[None]] | None = None
        """Called before each write: others may be faster in it."""

    async def read(self) -> Wishes:
        await self._answer()
        return self.wishes

    async def replace(self, wishes: Wishes, *, expected: int) -> bool:
        await self._answer()
        if self.before_write is not None:
            await self.before_write()
        if self.wishes.revision != expected:
            return False
        self.wishes = wishes
        return True

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise StoreUnavailableError("the fake store is down")


class FakeWorkers:
    """`IWorkers` in memory."""

    def __init__(self, *names: str) -> None:
        self.seen = {name: SeenWorker(name, is_live=True, has_stopped=False, carried_out=0) for name in names}

    async def taking_orders(self) -> Sequence[SeenWorker]:
        await asyncio.sleep(0)
        return list(self.seen.values())

"""Suspects: deliveries that came back again and again are handled one at a time.

An order that kills its worker takes whatever is in hand with it: all of that comes back, too, and counts one more of
the redeliveries the broker allows. Where the others take longer than the poison, they would end as dead letters beside
it. Handled one at a time, in an order drawn by lot, about half of the others are done with before the poison's turn
comes, each time. What is no suspect does not wait for them.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.domain.delivery import Delivery

SUSPECT_FROM = 3
"""Times a delivery came back; most connections that are lost, and workers that are stopped, do not make that many."""
_GATHERING = 0.2
"""Seconds the first waits for others to draw lots with: they come back all at once."""
_COUNT_HEADER = "x-delivery-count"  # the broker's own, on quorum queues, from the first time on


class Suspects:
    """Gives suspects of one queue their turn; everything else passes."""

    def __init__(self, *, gathering: float = _GATHERING) -> None:
        self._gathering = gathering
        self._waiting: list[asyncio.Future[None]] = []
        self._drawing: asyncio.Task[None] | None = None
        self._free = asyncio.Event()
        self._free.set()

    @asynccontextmanager
    async def turn(self, delivery: Delivery) -> AsyncIterator[None]:
        """Hold the delivery until it may be handled."""
        if not is_suspect(delivery):
            yield
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if self._drawing is None:
            self._drawing = asyncio.create_task(self._draw())
        try:
            await turn
            yield
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._free.set()

    async def _draw(self) -> None:
        try:
            await asyncio.sleep(self._gathering)
            while self._waiting:
                turn = self._waiting.pop(random.randrange(len(self._waiting)))  # noqa: S311 - a lot, no secret
                if turn.done():
                    continue  # its delivery has been given up meanwhile
                self._free.clear()
                turn.set_result(None)
                await self._free.wait()
        finally:
            self._drawing = None


def is_suspect(delivery: Delivery) -> bool:
    """Whether the delivery came back so often that it may be what kills its worker."""
    count = delivery.headers.get(_COUNT_HEADER)
    return delivery.redelivered and isinstance(count, int) and count >= SUSPECT_FROM

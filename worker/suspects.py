"""Suspects: deliveries that came back again and again are handled few at a time, in the end one.

An order that kills its worker takes whatever is in hand with it: all of that comes back, too, and counts one more of
the redeliveries the broker allows. Where the others take longer than the poison, they would end as dead letters beside
it. So they are handled in an order drawn by lot, a quarter of them at once the first time, and half as many each time
they come back, until it is one: about half of the others are done with before the poison's turn comes, each time. One
at a time from the first would not be safer by much, and a thousand that take two seconds each would outlast the
broker's consumer time-out. What is no suspect does not wait for them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from worker.domain.delivery import Delivery
from worker.domain.outcome import Outcome

SUSPECT_FROM = 3
"""Times a delivery came back; most connections that are lost, and workers that are stopped, do not make that many."""
_GATHERING = 0.2
"""Seconds the first waits for others to draw lots with: they come back all at once."""
_AT_ONCE = nullcontext()
_COUNT_HEADER = "x-delivery-count"  # the broker's own, on quorum queues, from the first time on


class Suspects:
    """Gives suspects of one queue their turn; everything else passes."""

    def __init__(self, *, gathering: float = _GATHERING) -> None:
        self._gathering = gathering
        self._waiting: dict[asyncio.Future[None], int] = {}  # and the times each came back
        self._handled: set[asyncio.Future[None]] = set()
        self._drawing: asyncio.Task[None] | None = None
        self._free = asyncio.Event()

    def in_turn(self, handle: Callable[[Delivery], Awaitable[Outcome]]) -> Callable[[Delivery], Awaitable[Outcome]]:
        """Return `handle`, called for each delivery once that has its turn."""

        async def handle_in_turn(delivery: Delivery) -> Outcome:
            async with self.turn(delivery):
                return await handle(delivery)

        return handle_in_turn

    def turn(self, delivery: Delivery) -> AbstractAsyncContextManager[None]:
        """Hold the delivery until it may be handled."""
        returns = times_returned(delivery)
        return self._drawn(returns) if returns >= SUSPECT_FROM else _AT_ONCE

    @asynccontextmanager
    async def _drawn(self, returns: int) -> AsyncIterator[None]:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = returns
        if self._drawing is None:
            self._drawing = asyncio.create_task(self._draw())
        try:
            await turn
            yield
        finally:
            self._waiting.pop(turn, None)
            self._handled.discard(turn)
            if not self._handled:
                self._free.set()

    async def _draw(self) -> None:
        try:
            await asyncio.sleep(self._gathering)
            while self._waiting:
                self._handled = set(random.sample(list(self._waiting), self._at_once()))
                self._free.clear()
                for turn in self._handled:
                    del self._waiting[turn]
                    if not turn.done():  # else its delivery has just been given up
                        turn.set_result(None)
                await self._free.wait()
        finally:
            self._drawing = None

    def _at_once(self) -> int:
        """How many of those that wait may be handled together: 1/4 when they came back 3 times, 1/8 after 4, …"""
        return max(len(self._waiting) >> (max(self._waiting.values()) - 1), 1)


def times_returned(delivery: Delivery) -> int:
    """Return how often the broker has had to deliver it again."""
    count = delivery.headers.get(_COUNT_HEADER)
    return count if delivery.redelivered and isinstance(count, int) else 0

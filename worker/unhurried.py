"""A question that may take long, asked again and again."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_SHARE = 0.1
"""How much of the time the question may be under way."""
_PATIENCE = 0.25


class Unhurried(Generic[T]):
    """Asks a question as often as it can bear: one that takes 1 s every 10 s, a quick one whenever it is wanted.

    Counting a million documents takes a while: a picture made twice a second must not wait for it, nor the store do
    nothing else.
    """

    def __init__(
        self, ask: Callable[[], Coroutine[Any, Any, T]], *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._timer = timer
        self._newest: asyncio.Task[T] | None = None
        self._last: asyncio.Task[T] | None = None
        self._took = 0.0
        self._next = 0.0

    async def answer(self) -> T:
        """Return the answer: a new one if it comes at once, else the last one. Raises what the first question raises.

        Once there is an answer, a question that fails leaves it as it is.
        """
        newest = self._newest
        if newest is None or (newest.done() and self._timer() >= self._next):
            newest = self._newest = asyncio.create_task(self._timed())
        last = self._last or newest
        await asyncio.wait([newest], timeout=_PATIENCE if last.done() else None)
        if newest.done() and newest.exception() is None:
            self._last = last = newest
        return last.result()

    def stop(self) -> None:
        """Ask no further; what is being asked is given up."""
        if self._newest is not None:
            self._newest.cancel()

    async def _timed(self) -> T:
        started = self._timer()
        answer = await self._ask()
        ended = self._timer()
        # The quicker of two counts: once, a quick question takes long, too, and nobody must wait for the next for that.
        before, self._took = self._took, ended - started
        self._next = ended + min(before, self._took) / _SHARE
        return answer

"""An event loop whose clock jumps: what waits an hour is done at once, and in the same order as in real time."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(AssertionError):
    """Everything waits, and nothing that could happen would wake anybody."""


class _NoWaiting(selectors.DefaultSelector):
    """Looks for events without waiting, and tells how long one would have waited."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events and timeout is None:
            raise StuckError("every task waits, and nobody would ever wake one")
        if not events and timeout is not None and timeout > 0:
            self.skipped += timeout
        return events


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop for tests without input and output: `time()` jumps to the next timer."""

    def __init__(self) -> None:
        self._no_waiting = _NoWaiting()
        super().__init__(self._no_waiting)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._no_waiting.skipped


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end without waiting for any timer."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(main)

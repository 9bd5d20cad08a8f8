"""How fast a program works off a queue that is full, and at what cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.arena import Arena
from benchmarks.usage import cpu_seconds, most_memory_mb
from infra.local.process import ServerProcess

_LOOK_EVERY = 0.05
_PATIENCE = 120.0
"""Seconds without a step forward after which a run is given up."""

PARTS = ("program", "store", "broker", "supplier")
Progress = Callable[[], Awaitable[int]]
"""How many orders have been taken, or asked for at the supplier."""


@dataclass(frozen=True, slots=True)
class Drain:
    """One measured stretch of work."""

    orders: int
    seconds: float
    cpu: dict[str, float]
    """Processor seconds, by part."""
    peak_mb: float

    @property
    def rate(self) -> float:
        """Orders a second."""
        return self.orders / self.seconds

    def cpu_per_thousand(self, part: str) -> float:
        """Processor seconds of a part for a thousand orders."""
        return self.cpu[part] / self.orders * 1000


class RunFailed(Exception):
    """A run whose figures do not count; the message says why."""


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    progress: int
    cpu: dict[str, float]


async def measure(arena: Arena, program: ServerProcess, progress: Progress, *, first: int, last: int) -> Drain:
    """Return what it took to come from the order `first` to the order `last`.

    Whatever a program does at its start, and waiting for its last orders, lies outside. Raises RunFailed when nothing
    moves any more, or everything is over between two looks.
    """
    start = await _reach(arena, program, progress, first)
    end = await _reach(arena, program, progress, last)
    if end.progress == start.progress:
        raise RunFailed(f"{end.progress} orders are over too soon to be measured: take more")
    return Drain(
        orders=end.progress - start.progress,
        seconds=end.at - start.at,
        cpu={part: end.cpu[part] - start.cpu[part] for part in end.cpu},
        peak_mb=most_memory_mb(program.pid or 0),
    )


async def _reach(arena: Arena, program: ServerProcess, progress: Progress, target: int) -> _Look:
    """Look at once when so many orders are done."""
    await reach(program, progress, target)
    now = await progress()
    pids = {"program": program.pid or 0, **arena.pids}
    return _Look(time.perf_counter(), now, {part: cpu_seconds(pid) for part, pid in pids.items()})


async def reach(program: ServerProcess, progress: Progress, target: int) -> None:
    """Return when so many orders are done. Raises RunFailed when the program ends or nothing moves any more."""
    before, moved_at = -1, time.monotonic()
    while (now := await progress()) < target:
        if now > before:
            before, moved_at = now, time.monotonic()
        if not program.is_running:
            raise RunFailed(f"the program ended by itself:\n{program.last_lines()}")
        if time.monotonic() - moved_at > _PATIENCE:
            raise RunFailed(f"stuck at {now} of {target} orders:\n{program.last_lines()}")
        await asyncio.sleep(_LOOK_EVERY)

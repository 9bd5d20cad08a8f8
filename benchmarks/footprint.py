"""`python -m benchmarks.footprint`: how long a worker takes to its first order, and what it costs when idle."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from benchmarks.arena import Arena, Place, running_arena
from benchmarks.drain import RunFailed, reach
from benchmarks.ledger import check_shipped_once
from benchmarks.orders import order_ids, publish_all
from benchmarks.usage import cpu_seconds, most_memory_mb
from infra.local.errors import LocalServerError
from infra.local.process import ServerProcess
from infra.telemetry.logs import setup_logging

_WORKER = ("-m", "worker", "worker")
_SETTLED = 10.0
"""Seconds after the start, before it counts as idle."""

Figures = dict[str, list[float]]


@click.command()
@click.option("--starts", default=5, show_default=True, help="How many times to start a worker.")
@click.option("--seconds", default=30.0, show_default=True, help="How long to watch one that is idle.")
def footprint(*, starts: int, seconds: float) -> None:
    """Measure a worker's start, from the process to its first order at the supplier, and what an idle one uses.

    An order waits in the queue before the start. The processor time of the start tells more than the clock on a
    machine that does other things, too. Idle: connected, with an empty queue.
    """
    setup_logging("ERROR")
    console = Console(stderr=True)
    try:
        figures = asyncio.run(_measure(starts, seconds, say=lambda line: console.print(line)))
    except (RunFailed, LocalServerError) as error:
        raise click.ClickException(str(error)) from error
    table = Table("", "median", "least", "most")
    for name, found in figures.items():
        table.add_row(name, *(f"{value:.2f}" for value in (median(found), min(found), max(found))))
    Console().print(table)


async def _measure(starts: int, seconds: float, say: Callable[[str], None]) -> Figures:
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="logistics-bench-", ignore_cleanup_errors=True) as folder:
        async with running_arena(Path(folder)) as arena:
            for number in range(starts):
                say(f"start {number + 1} of {starts}")
                for name, value in (await _start(arena)).items():
                    figures.setdefault(name, []).append(value)
            say(f"idle for {seconds:.0f} s")
            return {**figures, **await _idle(arena, seconds)}


async def _start(arena: Arena) -> dict[str, float]:
    await arena.set_behaviour()
    async with arena.fresh_place() as place:
        await publish_all(place.amqp_url, order_ids(1))
        begun = time.perf_counter()
        async with place.running(_WORKER) as process:
            await reach(process, lambda: _dispatched(place), 1)
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(process.pid or 0)
            await check_shipped_once(place, 1)
    return {"start to first order, s": seconds, "of that on the processor, s": cpu}


async def _idle(arena: Arena, seconds: float) -> Figures:
    async with arena.fresh_place() as place, place.running(_WORKER) as process:
        await asyncio.sleep(_SETTLED)
        return {
            "idle, percent of a core": [await _percent(process, seconds)],
            "idle, most memory, MiB": [most_memory_mb(process.pid or 0)],
        }


async def _percent(process: ServerProcess, seconds: float) -> float:
    before = cpu_seconds(process.pid or 0)
    await asyncio.sleep(seconds)
    return (cpu_seconds(process.pid or 0) - before) / seconds * 100


async def _dispatched(place: Place) -> int:
    return int((await place.arena.supplier_counts())["dispatches"])


if __name__ == "__main__":
    footprint()

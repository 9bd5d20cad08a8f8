"""`python -m benchmarks.scaling`: one to four processes that wait for a slow supplier."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from benchmarks.arena import Arena, running_arena
from benchmarks.drain import RunFailed, reach
from benchmarks.ledger import check_shipped_once
from benchmarks.orders import order_ids, publish_all
from infra.local.errors import LocalServerError
from infra.telemetry.logs import setup_logging
from worker.cli.output import print_json

LATENCY = 1.0
"""Seconds the supplier takes for an answer."""
PREFETCH = 10


@dataclass(frozen=True, slots=True)
class Fleet:
    """Workers on one machine, and what the supplier's slowness lets them do at most."""

    processes: int
    prefetch: int

    @property
    def most(self) -> float:
        """Orders a second, if nothing but the supplier took time."""
        return self.processes * self.prefetch / LATENCY


FLEETS = (*(Fleet(processes, PREFETCH) for processes in (1, 2, 3, 4)), Fleet(1, 4 * PREFETCH))
"""The last one is the other way to the rate of four."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """What a fleet did: orders a second, one figure a round."""

    fleet: Fleet
    rates: Sequence[float]

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return median(self.rates)


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Rounds; each runs every fleet once.")
@click.option("--seconds", default=10.0, show_default=True, help="How long each run is measured, about.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def scaling(*, rounds: int, seconds: float, as_json: bool) -> None:
    """Measure how orders a second grow with the number of processes when the supplier takes 1 s an order.

    Each process takes ten orders at once, so the most there can be is ten orders a second for each. A figure counts
    only if every order was shipped exactly once; else the exit code is 1.
    """
    setup_logging("ERROR")
    console = Console(stderr=True)
    try:
        done = asyncio.run(_measure(rounds=rounds, seconds=seconds, say=lambda line: console.print(line)))
    except (RunFailed, LocalServerError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json([asdict(scaled) for scaled in done])
    else:
        _show(Console(), done)


async def _measure(*, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Scaled]:
    rates: dict[Fleet, list[float]] = {fleet: [] for fleet in FLEETS}
    with tempfile.TemporaryDirectory(prefix="logistics-bench-", ignore_cleanup_errors=True) as folder:
        async with running_arena(Path(folder)) as arena:
            for number in range(rounds):
                for fleet in FLEETS:
                    rates[fleet].append(await _rate(arena, fleet, seconds=seconds))
                    say(f"round {number + 1} of {rounds}: {fleet}: {rates[fleet][-1]:.1f} orders/s")
    return [Scaled(fleet, found) for fleet, found in rates.items()]


async def _rate(arena: Arena, fleet: Fleet, *, seconds: float) -> float:
    """Return orders a second, from when all processes are at work until the queue is nearly empty."""
    at_once = fleet.processes * fleet.prefetch
    orders = round(fleet.most * seconds) + 5 * at_once
    await arena.set_behaviour(latency=LATENCY)
    async with arena.fresh_place() as place:

        async def dispatched() -> int:
            return int((await arena.supplier_counts())["dispatches"])

        await publish_all(place.amqp_url, order_ids(orders))
        command = ("-m", "worker", "worker", "--processes", str(fleet.processes))
        async with place.running(command, LOGISTICS_PREFETCH=str(fleet.prefetch)) as process:
            await reach(process, dispatched, 4 * at_once)
            first, begun = await dispatched(), time.perf_counter()
            await reach(process, dispatched, orders - at_once)
            last, ended = await dispatched(), time.perf_counter()
            await reach(process, dispatched, orders)
            await check_shipped_once(place, orders)
    return (last - first) / (ended - begun)


def _show(console: Console, done: Sequence[Scaled]) -> None:
    table = Table("processes", "orders at once, each", "orders/s", "of the rounds", "most there can be", "of that")
    for scaled in done:
        fleet = scaled.fleet
        spread = f"{min(scaled.rates):.1f} … {max(scaled.rates):.1f}"
        share = f"{scaled.rate / fleet.most:.2f}"
        table.add_row(
            f"{fleet.processes}", f"{fleet.prefetch}", f"{scaled.rate:.1f}", spread, f"{fleet.most:.0f}", share
        )
    console.print(table)


if __name__ == "__main__":
    scaling()

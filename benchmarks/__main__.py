"""`make bench`: the worker beside the same job written plainly, on real servers."""

import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.arena import SUPPLIER_LATENCY, running_arena
from benchmarks.comparison import Round, compare
from benchmarks.drain import RunFailed
from benchmarks.plot import svg
from benchmarks.report import print_figures
from benchmarks.summary import Figure, summarize
from infra.local.errors import LocalServerError
from infra.telemetry.logs import setup_logging
from worker.cli.output import print_json

_PREFETCH = 400
"""Enough that the processors decide, and not how long an order waits for the supplier and the journal."""


@click.command()
@click.option("--orders", default=8000, show_default=True, help="Orders in the full queue of each run.")
@click.option("--rounds", default=5, show_default=True, help="Rounds; each runs every program once.")
@click.option("--prefetch", default=_PREFETCH, show_default=True, help="Orders that each program has in hand at once.")
@click.option("--low-load", default=30.0, show_default=True, help="Seconds of 20 orders a second after each run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: every round, medians, ratios.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures as SVG to this file.")
def bench(*, orders: int, rounds: int, prefetch: int, low_load: float, as_json: bool, plot: Path | None) -> None:
    """Measure the worker beside a bare consumer and the same job written plainly.

    All run one after the other, in turns, on a private RabbitMQ and mongod and a supplier that takes 20 ms. A figure
    counts only if every order was shipped exactly once, by the supplier's and the store's books; else the exit code
    is 1. The machine's other work moves the figures of a round together: look at the ratios.

    \b
    Examples:
      python -m benchmarks
      python -m benchmarks --orders 20000 --rounds 7
      python -m benchmarks --prefetch 100        # the worker's default
      python -m benchmarks --json --plot docs/performance.svg
    """
    setup_logging("ERROR")
    console = Console(stderr=True)
    try:
        rounds_done = asyncio.run(_compare(console, orders=orders, rounds=rounds, prefetch=prefetch, low_load=low_load))
    except (RunFailed, LocalServerError) as error:
        raise click.ClickException(str(error)) from error
    figures = summarize(rounds_done)
    if plot is not None:
        plot.write_text(svg(figures))
    if as_json:
        print_json(_document(rounds_done, figures, orders=orders, prefetch=prefetch, low_load=low_load))
    else:
        print_figures(Console(), figures)


async def _compare(console: Console, *, orders: int, rounds: int, prefetch: int, low_load: float) -> list[Round]:
    with tempfile.TemporaryDirectory(prefix="logistics-bench-", ignore_cleanup_errors=True) as folder:
        console.print("servers start")
        async with running_arena(Path(folder), prefetch=prefetch) as arena:
            return await compare(
                arena, orders=orders, rounds=rounds, low_load=low_load, say=lambda line: console.print(line)
            )


def _document(
    rounds: list[Round], figures: list[Figure], *, orders: int, prefetch: int, low_load: float
) -> dict[str, Any]:
    return {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "settings": {
            "orders": orders,
            "prefetch": prefetch,
            "supplier_latency": SUPPLIER_LATENCY,
            "low_load_seconds": low_load,
        },
        "figures": [figure.document() for figure in figures],
        "rounds": [
            {
                name: {
                    "orders": run.drain.orders,
                    "seconds": round(run.drain.seconds, 3),
                    "cpu": {part: round(seconds, 2) for part, seconds in run.drain.cpu.items()},
                    "peak_mb": round(run.drain.peak_mb, 1),
                }
                for name, run in one.items()
            }
            for one in rounds
        ],
    }


if __name__ == "__main__":
    sys.exit(bench())

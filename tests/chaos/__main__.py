"""`make chaos`: a run by hand."""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from infra.telemetry.logs import setup_logging
from tests.chaos.report import print_result
from tests.chaos.run import run


@click.command()
@click.option("--seed", type=int, help="Repeat the run with this seed; drawn when not given.")
@click.option("--orders", default=20_000, show_default=True, help="Orders to publish.")
@click.option("--faults", default=60, show_default=True, help="Faults to strike with.")
@click.option("--workers", default=3, show_default=True, help="Workers that handle them.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep logs and data in this folder.")
def chaos(seed: int | None, orders: int, faults: int, workers: int, keep: Path | None) -> None:
    """Let orders flow through workers while faults strike, then account for every order.

    Everything runs on private servers of this machine: three RabbitMQ nodes, three mongods, a supplier. Exit code 1:
    an order is lost, was dispatched twice, or something else is not as it must be.

    \b
    Examples:
      python -m tests.chaos
      python -m tests.chaos --orders 100000 --faults 200 --seed 7
    """
    seed = random.randrange(10**6) if seed is None else seed
    console = Console()
    setup_logging("CRITICAL")  # the client tells of each connection that a fault cuts
    console.print(f"[{time.strftime('%H:%M:%S')}] seed {seed}; servers start, about half a minute", markup=False)
    with tempfile.TemporaryDirectory(prefix="logistics-chaos-", ignore_cleanup_errors=True) as made:
        result = asyncio.run(
            run(
                seed=seed,
                orders=orders,
                faults=faults,
                workers=workers,
                folder=(keep or Path(made)).resolve(),
                say=lambda line: console.print(line, markup=False, highlight=False),
            )
        )
    print_result(console, result)
    sys.exit(0 if result.is_sound else 1)


chaos()

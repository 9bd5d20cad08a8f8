"""`python -m benchmarks.failing`: what a try costs when half of the orders fail once."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
from rich.console import Console

from benchmarks.arena import Arena, running_arena
from benchmarks.drain import Drain, RunFailed, measure
from benchmarks.ledger import check_shipped_once
from benchmarks.orders import order_ids, publish_all
from benchmarks.programs import WORKER
from infra.local.errors import LocalServerError
from infra.telemetry.logs import setup_logging
from worker.cli.output import print_json

GOAL = 2.0
"""What a try may cost at most, in tries of a supplier that never fails."""
_FAIL_ONCE = {"match": "F-*", "fail_first": 1}


@dataclass(frozen=True, slots=True)
class Pair:
    """One round: the same number of orders, none of which fails and half of which fail once."""

    calm: Drain
    failing: Drain

    @property
    def time(self) -> float:
        """Time per try where half fail, in times per try where none does."""
        return self.calm.rate / self.failing.rate

    @property
    def cpu(self) -> float:
        """The same for the worker's processor time."""
        return self.failing.cpu_per_thousand("program") / self.calm.cpu_per_thousand("program")


@click.command()
@click.option("--orders", default=4000, show_default=True, help="Orders of each run.")
@click.option("--rounds", default=5, show_default=True, help="Rounds; each runs the worker without failures and with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def failing(*, orders: int, rounds: int, as_json: bool) -> None:
    """Measure what a try costs the worker when half of the orders fail once, beside a supplier that never fails.

    A failed order is stored, goes to a delay queue with a publisher confirm, and comes back. The circuit is kept from
    opening, which would pause all of it. A figure counts only if every order was shipped exactly once; else the exit
    code is 1.
    """
    setup_logging("ERROR")
    console = Console(stderr=True)
    try:
        pairs = asyncio.run(_compare(orders=orders, rounds=rounds, say=lambda line: console.print(line)))
    except (RunFailed, LocalServerError) as error:
        raise click.ClickException(str(error)) from error
    figures = {"time_per_try": median(pair.time for pair in pairs), "cpu_per_try": median(pair.cpu for pair in pairs)}
    if as_json:
        print_json({**figures, "rounds": [{"time": pair.time, "cpu": pair.cpu} for pair in pairs], "goal": GOAL})
    else:
        _show(Console(), pairs, figures["time_per_try"], figures["cpu_per_try"])


async def _compare(*, orders: int, rounds: int, say: Callable[[str], None]) -> list[Pair]:
    with tempfile.TemporaryDirectory(prefix="logistics-bench-", ignore_cleanup_errors=True) as folder:
        async with running_arena(Path(folder)) as arena:
            pairs: list[Pair] = []
            for number in range(rounds):
                calm = await _run(arena, order_ids(orders))
                pairs.append(Pair(calm, await _run(arena, _half_failing(orders))))
                say(f"round {number + 1} of {rounds}: a try costs {pairs[-1].time:.2f} of the time")
    return pairs


def _half_failing(count: int) -> list[str]:
    """Return so many order ids; every second one fails once."""
    return [f"{'F' if number % 2 else 'B'}-{number:07}" for number in range(count)]


async def _run(arena: Arena, ids: Sequence[str]) -> Drain:
    """Have the worker ship the orders; return what the middle of its tries took."""
    await arena.set_behaviour(rules=[_FAIL_ONCE])
    async with arena.fresh_place() as place:

        async def tries() -> int:
            return int((await arena.supplier_counts())["requests"])

        await publish_all(place.amqp_url, ids)
        async with place.running(WORKER.command) as process:
            in_all = len(ids) + sum(order.startswith("F") for order in ids)
            drain = await measure(arena, process, tries, first=in_all // 10, last=in_all - in_all // 10)
            await check_shipped_once(place, len(ids), patience=60.0)
    return drain


def _show(console: Console, pairs: Sequence[Pair], time: float, cpu: float) -> None:
    spread = f"{min(pair.time for pair in pairs):.2f} … {max(pair.time for pair in pairs):.2f}"
    console.print(f"a try takes {time:.2f} of the time ({spread}) and {cpu:.2f} of the processor time")
    console.print(f"goal: ≤ {GOAL:g}: {'reached' if time <= GOAL else 'missed'}")


if __name__ == "__main__":
    failing()
